"""The user's model: imported, built without data, and known by its modules and tensors."""
