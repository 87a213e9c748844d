"""A plan file in the editor: its text, its analysis, and what stands at a position in it."""
