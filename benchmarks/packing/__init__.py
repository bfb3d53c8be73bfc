"""The planner beside its peers on instances with known answers."""
