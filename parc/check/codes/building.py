"""The pages of what building tells (P5xx): the model is imported, captured and cut, and files are written.

Where the fault is the model's, the example is Python.
"""

from __future__ import annotations

from parc.check.registry import Registry

BUILDING = Registry()

BUILDING.explain(
    "P501",
    "no-model",
    """The module or the factory that `source` names cannot be imported.

    The path is relative to the plan file. Building runs the module as `import` would; checking never does.

    ## Example

        source = "moe.py:MoETransfomer"

    ## Instead

        source = "moe.py:MoETransformer"
    """,
)
BUILDING.explain(
    "P502",
    "model-not-built",
    """The factory raises with the `arguments` of the plan, or returns something else than a torch.nn.Module.

    It is called under `torch.device("meta")`, without memory for weights: it must not read their values.

    ## Example

        def Model(dim):
            return {"weight": torch.empty(dim)}

    ## Instead

        class Model(nn.Module):
            def __init__(self, dim):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(dim))
    """,
)
BUILDING.explain(
    "P503",
    "unknown-beginning",
    """How a parameter or a buffer gets its first value cannot be recorded.

    Every rank draws its own share of a parameter, so parc must know how it is drawn: with the functions of
    torch.nn.init and with fills. A buffer may be computed in any way that is not random.

    ## Example

        self.weight = nn.Parameter(torch.empty(dim, dim))

    ## Instead

        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.normal_(self.weight, std=0.02)
    """,
)
BUILDING.explain(
    "P504",
    "other-shape",
    """The model is not what `shape` says of it.

    Checking believes `shape`, since it runs no code: counts, divisibility and `ranks.csv` rest on it.

    ## Example

        arguments { n_layers = 16 }
        shape     { layers = 12 }

    ## Instead

        arguments { n_layers = 16 }
        shape     { layers = 16 }
    """,
)
BUILDING.explain(
    "P505",
    "model-not-captured",
    """`forward` does not run on its own, or cannot be captured as a graph.

    It runs once without data. It must not branch on values of tensors outside of the experts, draw random
    numbers (dropout), or change buffers; it returns logits, logits and a balance loss, or the loss.

    ## Example

        if x.abs().max() > 10:
            x = x / 10

    ## Instead

        x = torch.where(x.abs().max() > 10, x / 10, x)
    """,
)
BUILDING.explain(
    "P506",
    "experts-not-captured",
    """What one expert computes cannot be told from its module.

    `forward(tokens, indices, weights)` of the module must be the weighted sum of each token's experts, all of
    them of the same arithmetic, which looks at one token at a time. Loops and sorts by expert are fine.

    ## Example

        hidden = F.linear(tokens[row] - tokens[row].mean(0), self.up[expert])

    ## Instead

        hidden = F.linear(tokens[row], self.up[expert])
    """,
)
BUILDING.explain(
    "P507",
    "no-layout",
    """An operation has no legal placement on an axis: it reads across what the axis cuts.

    Data axes cut the batch, `tensor` the heads and the widths, `sequence = true` the positions. Sums and
    means over what is cut are fine: they get an all-reduce.

    ## Example

        hidden = hidden.cumsum(0)  # dim 0 is the batch, which `data over [dp]` cuts

    ## Instead

        hidden = hidden.cumsum(1)
    """,
)
BUILDING.explain(
    "P508",
    "not-cut",
    """A parameter that the tensor axis was to cut cannot be cut.

    The operation that the message names reads the whole of the dim. Nothing is kept whole in silence: say so.

    ## Example

        tensor over [tp]

    ## Instead

        tensor over [tp] { replicate = ["layers.*.gate.weight"] }
    """,
)
BUILDING.explain(
    "P509",
    "shared-or-frozen-parameter",
    """Parameters that modules or stages share, or that are not trained, are not supported yet.

    A parameter that is tied inside one captured module, and inside one stage of the pipeline, is fine.

    ## Example

        self.head.weight = self.embedding.weight  # with `pipeline over [pp]`

    ## Instead

        self.head = nn.Linear(dim, vocab, bias=False)
    """,
)
BUILDING.explain(
    "P510",
    "output-in-the-way",
    """The output folder cannot be written, or exists and is not parc's.

    A folder that parc has written is replaced, but for what a run has left in it; anything else never is.
    """,
)
BUILDING.explain(
    "P511",
    "axis-name",
    """An axis has the name of a part of the model that communicates over it, or of one of Python or torch.

    The groups of ranks are attributes of the emitted modules: `self.tp`.

    ## Example

        mesh = [attention: 2]
        tensor over [attention]

    ## Instead

        mesh = [tp: 2]
        tensor over [tp]
    """,
)
