"""The packing problem and its plans as records of integers, and the check of a plan against its problem."""
