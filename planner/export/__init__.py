"""Write a plan in the formats of the systems that deploy it, one module a target."""
