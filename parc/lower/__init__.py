"""Placed graphs become the modules and stages of a program: the IR that `emit` prints."""
