"""The kinds of faults that `benchmarks/faults.py` injects, a module for each pass of the compiler."""
