"""`forward` needs what a batch does not have."""

from small_base import Model as Base


class Model(Base):  # P505
    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids * attention_mask)
