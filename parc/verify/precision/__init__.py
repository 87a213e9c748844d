"""The rungs in float32 and bfloat16: the program is as near to float64 as rounding allows."""
