"""Forms of `model` and its sub-blocks."""

from __future__ import annotations

from parc.plan.schema.form import Form, Key

ARGUMENTS = Form("arguments", "Keyword arguments of the factory of the model, passed verbatim.", open=True)
SHAPE = Form(
    "shape",
    "Sizes of the model, known without running its code. What is left out is unknown.",
    (
        Key("layers", "count", "Transformer layers.", example="16"),
        Key("hidden", "count", "Size of the residual stream.", example="1024"),
        Key("heads", "count", "Attention heads of a layer.", example="16"),
        Key("kv_heads", "count", "Heads of keys and values.", example="16", default="`heads`"),
        Key("head_dim", "count", "Size of a head.", example="64", default="`hidden / heads`"),
        Key("ffn", "count", "Inner size of one expert, and of a dense layer.", example="2048"),
        Key("dense_ffn", "count", "Inner size of a layer without experts.", example="4096", default="`ffn`"),
        Key(
            "shared_ffn",
            "count",
            "Inner size of the shared expert, which processes every token.",
            example="2048",
            default="`0`, no shared expert",
            least=0,
        ),
        Key("dense_layers", "count", "Number of leading layers that have no experts.", example="1", least=0),
        Key("gated", "flag", "Whether experts are gated: three matrices instead of two.", example="true"),
        Key("experts", "count", "Routed experts of a layer; 0: a dense model.", example="64", least=0),
        Key("top_k", "count", "Experts per token.", example="2"),
        Key("vocab", "count", "Size of the vocabulary.", example="32000"),
    ),
    dataclass="Shape",
)
INPUTS = Form(
    "inputs",
    "Names of the parameters of `forward`, if they differ from the usual ones.",
    (
        Key(
            "tokens",
            "text",
            "The parameter that takes the tokens.",
            example='"input_ids"',
            default="found by name",
        ),
        Key(
            "labels",
            "text",
            "The parameter that takes the labels.",
            example='"labels"',
            default="found by name",
        ),
    ),
)
MODEL = Form(
    "model",
    "A single-device PyTorch model and its sizes.",
    (
        Key(
            "source",
            "text",
            "The factory: a file relative to the plan, or a package, and the name to call in it.",
            needed=True,
            example='"moe.py:MoETransformer"',
        ),
        Key(
            "experts",
            "text",
            "Glob over the names of the modules that hold experts.",
            example='"layers.*.experts"',
            default="found by structure",
        ),
    ),
    (ARGUMENTS, SHAPE, INPUTS),
    "Model",
    ("label",),
)
