"""Decide which replicas go on which GPU."""
