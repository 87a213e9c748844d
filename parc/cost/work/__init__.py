"""What one rank computes, moves and keeps for one microbatch: by the parts of a layer."""
