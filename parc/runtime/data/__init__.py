"""What a rank trains on: data sets, the order of their sequences, and batches."""
