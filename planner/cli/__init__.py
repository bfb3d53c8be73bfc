"""The command line `plan`."""
