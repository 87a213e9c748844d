"""What a rank holds: parameters, their gradients and optimizer state, activations."""
