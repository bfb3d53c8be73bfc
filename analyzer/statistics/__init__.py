"""Statistics of a trial: its window, its confidence intervals, disturbed times, and the verdict on its figures."""
