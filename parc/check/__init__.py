"""The rules, and who runs them."""
