"""What of a plan is run: a small plan of its kind, and what it is trained on."""
