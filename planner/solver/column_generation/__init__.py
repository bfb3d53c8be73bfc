"""Column generation over patterns: master LP, pricing as a knapsack, rounding cuts, diving, large neighbourhoods."""
