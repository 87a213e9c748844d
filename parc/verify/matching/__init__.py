"""The first rung: what all ranks send fits together, and is what the program issues."""
