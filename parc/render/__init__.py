"""Diagnostics, plans and figures in the formats of people and of tools."""
