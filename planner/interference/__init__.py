"""What co-location costs: a model fitted to measured slow-downs, its margin, predictions, limits for the solver."""
