"""A plan file in the editor: its text, what is known of it, and where things are."""
