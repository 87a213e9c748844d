"""What a compiled program carries with it: plain PyTorch, nothing of the compiler that wrote it."""
