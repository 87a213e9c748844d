"""The class takes one configuration, which a plan's arguments cannot state."""

from dataclasses import dataclass

from small_base import Block
from small_base import Model as Base


@dataclass
class Config:
    vocab: int = 32


class Model(Base):  # P502
    def __init__(self, config: Config):
        super().__init__(Block, vocab=config.vocab)
