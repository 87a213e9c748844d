"""A value and a cast of it cross; where all is float64, they are one variable."""

from small_base import Model as Base


class Model(Base):
    def forward(self, tokens):
        x = self.embedding(tokens)
        sums, half, every_other, wide = tokens.sum(-1), x.half(), x.transpose(1, 2)[:, ::2], x.double()
        for layer in self.layers:
            x = layer(x)
        x = x + sums[:, None, None] * 1e-3 + half.float() * 0.1 + wide.float() * 0.1
        return self.head(x) + every_other.sum() * 1e-3
