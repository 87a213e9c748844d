"""Rules that price a plan: legal, and perhaps not meant."""
