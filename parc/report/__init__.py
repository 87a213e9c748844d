"""What there is to tell about a checked plan, as plain values: `parc explain` and `parc diff` show them."""
