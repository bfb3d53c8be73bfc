"""The command line `analyze`."""
