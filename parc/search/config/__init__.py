"""A model's `shape` from its Hugging Face `config.json`, and how many parameters the model has."""
