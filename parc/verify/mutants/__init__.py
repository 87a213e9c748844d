"""Mutation testing of the proof: known silent bugs, injected into a right program, must be detected."""
