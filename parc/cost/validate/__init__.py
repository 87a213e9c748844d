"""The cost model against runs that others have measured and published."""
