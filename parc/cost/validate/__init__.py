"""Compares the cost model with runs that others have measured and published."""
