"""The demand of the models that run, from Triton's metrics in a Prometheus."""
