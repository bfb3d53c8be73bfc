"""Solve a Problem: presolve, greedy plans, lower bounds, column generation, and an exact search with CP-SAT."""
