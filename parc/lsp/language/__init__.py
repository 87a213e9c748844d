"""What the server shows of a whole file: outline, colours, hints, lenses, pictures."""
