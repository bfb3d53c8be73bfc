"""Benchmark of the planner against other solvers, on instances with known answers."""
