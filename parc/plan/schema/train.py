"""Models and training runs: what is computed."""

from __future__ import annotations

from parc.plan.schema.form import Form, Key

SHIFTS = ("data", "model")
DECAYS = ("constant", "cosine")
COMPUTES = ("fp32", "fp64", "bf16")
MASTERS = ("fp32", "fp64")
BALANCES = ("microbatch", "rank")
DATASETS = ("files", "tokens")
TOKEN_TYPES = ("uint8", "uint16", "uint32", "int32")
OPTIMIZERS = ("adamw",)

ARGUMENTS = Form("arguments", "What the model's factory is called with, verbatim.", open=True)
SHAPE = Form(
    "shape",
    "What checking may know of the model without running its code. What is left out is unknown.",
    (
        Key("layers", "count", "Transformer layers."),
        Key("hidden", "count", "Size of the residual stream."),
        Key("heads", "count", "Attention heads of a layer."),
        Key("kv_heads", "count", "Heads of keys and values; as many as `heads` where it is left out."),
        Key("head_dim", "count", "Size of a head; hidden / heads where it is left out."),
        Key("ffn", "count", "Inner size of one expert, and of a dense layer without `dense_ffn`."),
        Key("dense_ffn", "count", "Inner size of a layer that has no experts."),
        Key("shared_ffn", "count", "Inner size of the expert that sees every token; 0: there is none."),
        Key("dense_layers", "count", "How many of the first layers have no experts."),
        Key("gated", "flag", "Whether an expert has a gate: three matrices instead of two."),
        Key("experts", "count", "Routed experts of a layer; 0: a dense model."),
        Key("top_k", "count", "Experts that each token is sent to."),
        Key("vocab", "count", "Words of the vocabulary."),
    ),
    facts="Shape",
)
INPUTS = Form(
    "inputs",
    "How `forward` names its parameters, where they are not called as usual.",
    (
        Key("tokens", "text", "The parameter that takes the tokens.", example='"input_ids"'),
        Key("labels", "text", "The parameter that takes the labels.", example='"labels"'),
    ),
)
MODEL = Form(
    "model",
    "A PyTorch model that knows nothing of parallelism, and what checking may know of it.",
    (
        Key(
            "source",
            "text",
            "Where its factory is: a file beside the plan or a package, and what to call in it.",
            needed=True,
            example='"moe.py:MoETransformer"',
        ),
        Key(
            "experts",
            "text",
            "Glob over module names, of those that hold experts; found by structure where it is left out.",
            example='"layers.*.experts"',
        ),
    ),
    (ARGUMENTS, SHAPE, INPUTS),
    "Model",
    ("label",),
)

BATCH = Form(
    "batch",
    "What one step trains on.",
    (
        Key("sequences", "count", "Sequences of a step, of all ranks together.", needed=True),
        Key("length", "count", "Tokens of a sequence.", needed=True),
        Key("microbatches", "count", "Parts that a step's sequences are computed in, one after another."),
    ),
    facts="Batch",
)
LOSS = Form(
    "loss",
    "How the loss comes about.",
    (
        Key("balance", "real", "Weight of the balance loss that the model returns.", example="0.01"),
        Key("ignore_index", "real", "The label that counts for nothing.", example="-100"),
        Key("shift", "choice", "Who pairs each position with the next token.", SHIFTS),
    ),
    facts="Loss",
)
APPROXIMATE = Form(
    "approximate",
    "What may differ from a single device, for speed. Each is told whenever the plan is checked.",
    (
        Key("capacity", "real", "Tokens that an expert takes, over its even share.", example="1.25"),
        Key("balance", "choice", "The tokens that the balance loss is taken over.", BALANCES),
    ),
    facts="Approximate",
)
PRECISION = Form(
    "precision",
    "What numbers are computed and kept in.",
    (
        Key("compute", "choice", "Of activations and products.", COMPUTES),
        Key("master", "choice", "Of parameters and optimizer states.", MASTERS),
    ),
    facts="Precision",
)
ADAMW = Form(
    "adamw",
    "Adam with decoupled weight decay.",
    (
        Key("lr", "real", "Learning rate, at its highest.", example="3e-4"),
        Key("beta1", "real", "Decay of the mean of the gradients.", example="0.9"),
        Key("beta2", "real", "Decay of the mean of their squares.", example="0.95"),
        Key("eps", "real", "Added to the root of the second mean.", example="1e-8"),
        Key("weight_decay", "real", "Shrinks parameters by lr x this, each step.", example="0.1"),
        Key("clip", "real", "Largest norm of all gradients together; not clipped without.", example="1.0"),
        Key("warmup", "count", "Steps in which the learning rate rises from zero."),
        Key("decay", "choice", "How the learning rate goes on after that.", DECAYS),
        Key("min_lr", "real", "Where the cosine ends.", example="3e-5"),
    ),
    facts="Optimizer",
)
TOKENS = Form(
    "tokens", "Tokens in files, memory-mapped.", (Key("type", "choice", "Of a token.", TOKEN_TYPES),)
)
TRAIN = Form(
    "train",
    "What is computed. Any two plans of one `train` give the same numbers.",
    (
        Key("model", "block", "The `model` block that is trained.", needed=True),
        Key("seed", "count", "Of initial values."),
        Key("steps", "count", "Optimizer steps."),
        Key("optimizer", "configured", "With its settings.", OPTIMIZERS, example="adamw { lr = 3e-4 }"),
        Key(
            "dataset",
            "call",
            "`files(..)` is text as bytes, `tokens(..)` is memory-mapped; globs, relative to the plan file.",
            DATASETS,
            example='files("corpus/*.txt")',
        ),
    ),
    (BATCH, LOSS, APPROXIMATE, PRECISION, ADAMW, TOKENS),
    "Train",
    ("label",),
)
