"""Tree to facts: names, types, units and defaults."""
