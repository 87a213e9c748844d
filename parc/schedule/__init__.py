"""The order in which a rank of a pipeline runs its passes."""
