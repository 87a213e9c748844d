"""Operators as the Python that a person writes."""
