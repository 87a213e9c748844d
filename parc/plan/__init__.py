"""What a plan file says: the layout algebra, the resolved facts, and how a tree becomes them."""
