"""Change a placement in force with few moves: repair, a CP-SAT model of the moves, and the order of the steps."""
