"""The placement, which is the planner's result: its records, its JSON file, tables, and what differs between two."""
