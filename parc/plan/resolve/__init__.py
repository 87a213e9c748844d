"""From a syntax tree to resolved blocks: names, types, units and defaults."""
