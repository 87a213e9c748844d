"""Forms of `train` and its sub-blocks."""

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

BATCH = Form(
    "batch",
    "The data of one step.",
    (
        Key("sequences", "count", "Sequences per step, over all ranks.", needed=True),
        Key("length", "count", "Tokens per sequence.", needed=True),
        Key(
            "microbatches",
            "count",
            "Number of parts into which the sequences of a step are divided, computed one after another.",
        ),
    ),
    dataclass="Batch",
)
LOSS = Form(
    "loss",
    "Options of the loss.",
    (
        Key("balance", "real", "Weight of the balance loss that the model returns.", example="0.01"),
        Key("ignore_index", "real", "Label of tokens that do not contribute to the loss.", example="-100"),
        Key(
            "shift",
            "choice",
            "Whether the data or the model pairs each position with the next token.",
            SHIFTS,
        ),
    ),
    dataclass="Loss",
)
APPROXIMATE = Form(
    "approximate",
    "Permitted deviations from the single-device result, for speed. Every check reports each of them.",
    (
        Key("capacity", "real", "Largest number of tokens of an expert / its even share.", example="1.25"),
        Key("balance", "choice", "The tokens over which the balance loss is computed.", BALANCES),
    ),
    dataclass="Approximate",
)
PRECISION = Form(
    "precision",
    "Data types of the computation and of the parameters.",
    (
        Key("compute", "choice", "Type of activations and matrix products.", COMPUTES),
        Key("master", "choice", "Type of parameters and optimizer states.", MASTERS),
    ),
    dataclass="Precision",
)
ADAMW = Form(
    "adamw",
    "Adam with decoupled weight decay.",
    (
        Key("lr", "real", "Peak learning rate.", example="3e-4"),
        Key("beta1", "real", "Decay rate of the mean of the gradients.", example="0.9"),
        Key("beta2", "real", "Decay rate of the mean of their squares.", example="0.95"),
        Key("eps", "real", "Added to the square root of the mean of the squares.", example="1e-8"),
        Key("weight_decay", "real", "Each step shrinks parameters by lr x weight_decay.", example="0.1"),
        Key("clip", "real", "Largest global gradient norm; no clipping if left out.", example="1.0"),
        Key("warmup", "count", "Steps of linear warmup from zero."),
        Key("decay", "choice", "Schedule of the learning rate after the warmup.", DECAYS),
        Key("min_lr", "real", "Final learning rate of the cosine schedule.", example="3e-5"),
    ),
    dataclass="Optimizer",
)
TOKENS = Form(
    "tokens", "Memory-mapped files of tokens.", (Key("type", "choice", "Data type of a token.", TOKEN_TYPES),)
)
FILES = Form("files", "Text, as bytes; globs, relative to the plan file.")
TRAIN = Form(
    "train",
    "A training run. Any two plans of one `train` compute the same numbers.",
    (
        Key("model", "block", "The `model` block to train.", needed=True),
        Key("seed", "count", "Seed of the initial values."),
        Key("steps", "count", "Optimizer steps."),
        Key(
            "optimizer",
            "configured",
            "The optimizer and its settings.",
            OPTIMIZERS,
            example="adamw { lr = 3e-4 }",
        ),
        Key(
            "dataset",
            "call",
            "`files(..)`: text as bytes; `tokens(..)`: memory-mapped. Globs are relative to the plan file.",
            DATASETS,
            example='files("corpus/*.txt")',
        ),
    ),
    (BATCH, LOSS, APPROXIMATE, PRECISION, ADAMW, TOKENS, FILES),
    "Train",
    ("label",),
)
