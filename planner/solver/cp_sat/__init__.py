"""The whole problem as a CP-SAT model over individual GPUs, and the limits under which CP-SAT runs."""
