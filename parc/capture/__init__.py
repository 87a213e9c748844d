"""The user's model, built without data and captured as graphs over global shapes."""
