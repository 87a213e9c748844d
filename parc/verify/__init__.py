"""Comparing a built program with the user's own model on one device."""
