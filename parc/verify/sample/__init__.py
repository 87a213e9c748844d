"""The program that is run for a plan: its mesh or a smaller one, its model cut in size, its data."""
