"""The tests see no GPU: with one, torch forks no rank that can train once a test has made a backward pass."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers, and the ranks that tests start, share the cores
