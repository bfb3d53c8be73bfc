"""Show measurements and placements; nothing is computed here beyond formatting a record."""
