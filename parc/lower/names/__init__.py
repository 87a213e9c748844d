"""Names of values, from the source of the user and from what computes them."""
