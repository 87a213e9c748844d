"""The first rung: the operations of all ranks fit together, and are those that the program issues."""
