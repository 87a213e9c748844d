"""A model in a package beside the plan, which imports from its own package."""

from . import parts


class Model(parts.Base):
    pass
