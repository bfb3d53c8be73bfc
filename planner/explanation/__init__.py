"""Why a plan is as it is: bottlenecks, bounds, what-if changes, simpler rules for comparison, growth of the fleet."""
