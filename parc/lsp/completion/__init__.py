"""Completion: what may be written at the cursor, from the schema and the plan; the text may be incomplete."""
