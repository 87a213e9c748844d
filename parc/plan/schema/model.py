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
        Key(
            "dense_ffn",
            "count",
            "Inner size of a layer without experts; 0: such layers have no FFN.",
            example="4096",
            default="`ffn`",
            least=0,
        ),
        Key(
            "shared_ffn",
            "count",
            "Inner size of the shared expert, which processes every token.",
            example="2048",
            default="`0`, no shared expert",
            least=0,
        ),
        Key("dense_layers", "count", "Number of leading layers that have no experts.", example="1", least=0),
        Key(
            "expert_layers",
            "count",
            "Number of layers that have experts, where those without lie evenly among them.",
            example="8",
            default="all but `dense_layers`",
        ),
        Key("gated", "flag", "Whether experts are gated: three matrices instead of two.", example="true"),
        Key("experts", "count", "Routed experts of a layer; 0: a dense model.", example="64", least=0),
        Key("top_k", "count", "Experts per token.", example="2"),
        Key("vocab", "count", "Size of the vocabulary.", example="32000"),
        Key("tied", "flag", "Whether the head has the weights of the embedding.", example="true"),
        Key(
            "attention_layers",
            "count",
            "Number of layers that have attention; what others have instead is counted in `other`.",
            example="4",
            default="`layers`",
            least=0,
        ),
        Key(
            "latent",
            "counts",
            "Latent attention: the ranks of queries (0: not compressed) and of keys and values; the sizes of"
            " a head without positions, with positions, and of values.",
            example="[1536, 512, 128, 64, 128]",
            default="plain attention",
            least=0,
        ),
        Key(
            "other",
            "count",
            "Parameters that no other key counts, such as biases and linear attention; they are taken to lie"
            " evenly in all layers, and to be used for every token.",
            example="1000000",
            default="`0`",
            least=0,
        ),
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
