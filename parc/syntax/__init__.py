"""Text to tree, with every fault of the text as a diagnostic."""
