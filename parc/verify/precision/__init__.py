"""The rungs `fp32` and `bf16`: a step in low precision differs from float64 by no more than rounding."""
