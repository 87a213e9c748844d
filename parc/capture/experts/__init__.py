"""Modules of experts: found by structure, and captured as the arithmetic of one expert."""
