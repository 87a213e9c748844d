"""Hover texts: what the word at the cursor is, in Markdown."""
