"""Plans that are faulty, each with its faults marked beside the source, and plans that are right."""
