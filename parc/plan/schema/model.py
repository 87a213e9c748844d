"""Forms of `model` and its sub-blocks."""

from __future__ import annotations

from parc.plan.schema.form import Form, Key

ARGUMENTS = Form("arguments", "Keyword arguments of the factory of the model, passed verbatim.", open=True)
SHAPE = Form(
    "shape",
    "Sizes of the model, known without running its code. What is left out is unknown.",
    (
        Key("layers", "count", "Transformer layers."),
        Key("hidden", "count", "Size of the residual stream."),
        Key("heads", "count", "Attention heads of a layer."),
        Key("kv_heads", "count", "Heads of keys and values; equal to `heads` if left out."),
        Key("head_dim", "count", "Size of a head; hidden / heads if left out."),
        Key("ffn", "count", "Inner size of one expert, and of a dense layer if `dense_ffn` is left out."),
        Key("dense_ffn", "count", "Inner size of a layer without experts."),
        Key("shared_ffn", "count", "Inner size of the shared expert, which processes every token; 0: none."),
        Key("dense_layers", "count", "Number of leading layers that have no experts."),
        Key("gated", "flag", "Whether experts are gated: three matrices instead of two."),
        Key("experts", "count", "Routed experts of a layer; 0: a dense model."),
        Key("top_k", "count", "Experts per token."),
        Key("vocab", "count", "Size of the vocabulary."),
    ),
    dataclass="Shape",
)
INPUTS = Form(
    "inputs",
    "Names of the parameters of `forward`, if they differ from the usual ones.",
    (
        Key("tokens", "text", "The parameter that takes the tokens.", example='"input_ids"'),
        Key("labels", "text", "The parameter that takes the labels.", example='"labels"'),
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
            "Glob over the names of the modules that hold experts; found by structure if left out.",
            example='"layers.*.experts"',
        ),
    ),
    (ARGUMENTS, SHAPE, INPUTS),
    "Model",
    ("label",),
)
