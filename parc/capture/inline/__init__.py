"""Blocks whose own `forward` has the router and a loop over experts, captured as if that were a module."""
