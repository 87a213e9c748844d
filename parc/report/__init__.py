"""Overviews of checked plans, of their ranks and of their differences, as plain values."""
