"""Predicted times: of a matmul, of a pass through a stage, of a step."""
