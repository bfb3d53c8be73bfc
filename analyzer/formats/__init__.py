"""Formats that all packages share: option values, units, text tables, JSON keys, files, figure style."""
