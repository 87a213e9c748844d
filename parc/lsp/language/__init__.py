"""What the editor is told of a place in a plan: completion, hovers, outlines, annotations."""
