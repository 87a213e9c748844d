"""Translation validation: an emitted program at a tiny size, in this process, against the user's model."""
