"""Plan files as values: the layout algebra, the resolved blocks, and the resolver that builds them."""
