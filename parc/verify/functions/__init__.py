"""Functions of a program that a few steps of training say little of, compared with what they mean."""
