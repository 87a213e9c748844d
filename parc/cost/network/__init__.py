"""What a rank sends, over which links, and how long a collective takes."""
