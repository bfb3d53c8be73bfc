"""Measure what each configuration of a model delivers and costs on one device."""

__version__ = "0.1.0"
