"""Run a placement and measure whether it holds."""
