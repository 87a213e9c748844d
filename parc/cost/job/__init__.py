"""A training job as the cost model knows it: model, parallelism, hardware, software."""
