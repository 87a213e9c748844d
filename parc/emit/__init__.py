"""From events to files that people read."""
