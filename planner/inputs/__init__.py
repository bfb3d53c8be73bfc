"""What is given to the planner, read and checked: profiles, demand, fleet, GPU catalogue, MIG geometries."""
