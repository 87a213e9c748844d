"""Known silent bugs that no program of parc can have today, and why."""

from __future__ import annotations

ABSENT = {
    "tied embeddings not summed": (  # Megatron-LM #844
        "a parameter that two stages share is refused; within a stage there is one tensor"
    ),
    "dropout drawn a rank": "dropout is refused",  # Megatron-LM #206
    "tokens counted again by recompute": "recompute is refused (P406)",  # torchtitan #1593
    "state lost at a change of layout": (  # Fast-LLM #436; a loss within a run is a class of its own
        "there are no checkpoints: nothing changes its layout"
    ),
    "torn checkpoint loaded": "there are no checkpoints",
    "stale sharded parameters": "sharded parameters and optimizer states are refused (P401)",
}
"""By class. When parc builds what is refused here, the class gets mutants."""
