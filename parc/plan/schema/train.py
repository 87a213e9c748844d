"""Forms of `train` and its sub-blocks."""

from __future__ import annotations

from parc.plan.schema.form import Form, Key

SHIFTS = ("data", "model")
DECAYS = ("constant", "cosine")
IDLE_EXPERTS = ("update", "skip")
NUMBER_TYPES = ("fp32", "fp64", "bf16")
KEPT_KINDS = ("norms", "router")
BALANCES = ("microbatch", "rank")
DATASETS = ("files", "tokens")
TOKEN_TYPES = ("uint8", "uint16", "uint32", "int32")
OPTIMIZERS = ("adamw",)

BATCH = Form(
    "batch",
    "The data of one step.",
    (
        Key("sequences", "count", "Sequences per step, over all ranks.", needed=True, example="256"),
        Key("length", "count", "Tokens per sequence.", needed=True, example="1024"),
        Key(
            "microbatches",
            "count",
            "Number of parts into which the sequences of a step are divided, computed one after another.",
            example="32",
        ),
    ),
    dataclass="Batch",
)
LOSS = Form(
    "loss",
    "Options of the loss.",
    (
        Key("balance", "real", "Weight of the balance loss that the model returns.", example="0.01"),
        Key(
            "ignore_index",
            "real",
            "Label of tokens that do not contribute to the loss.",
            example="-100",
            least=-(2.0**63),
        ),
        Key(
            "shift",
            "choice",
            "Whether the data or the model pairs each position with the next token.",
            SHIFTS,
            example="data",
        ),
    ),
    dataclass="Loss",
)
APPROXIMATE = Form(
    "approximate",
    "Permitted deviations from what the model alone computes, for speed. Every check reports each of them.",
    (
        Key(
            "capacity",
            "real",
            "Most tokens of a microbatch that an expert takes / its even share of them, rounded up. To later "
            "tokens the expert adds nothing.",
            example="1.25",
            default="no token is dropped",
            least=0.01,
        ),
        Key(
            "balance",
            "choice",
            "The tokens over which the balance loss is computed.",
            BALANCES,
            example="rank",
        ),
    ),
    dataclass="Approximate",
)
PRECISION = Form(
    "precision",
    "Data types of the computation, and of what is kept from step to step.",
    (
        Key("compute", "choice", "Type of activations and matrix products.", NUMBER_TYPES, example="bf16"),
        Key(
            "master",
            "choice",
            "Type of the parameters that the optimizer updates; a copy is kept where `compute` differs.",
            NUMBER_TYPES,
            example="fp32",
        ),
        Key(
            "gradients",
            "choice",
            "Type in which gradients are kept, and added up over microbatches.",
            NUMBER_TYPES,
            example="fp32",
            default="that of `master`",
        ),
        Key(
            "reduce",
            "choice",
            "Type in which ranks send each other gradients and sum them: they are rounded to it before, and "
            "to `gradients` after. One device sends nothing.",
            NUMBER_TYPES,
            example="bf16",
            default="that of `gradients`",
        ),
        Key(
            "moments",
            "choice",
            "Type in which the optimizer's moments are kept; an update is computed in the wider one of this "
            "and `master`, and then rounded.",
            NUMBER_TYPES,
            example="fp32",
            default="that of `master`",
        ),
        Key(
            "keep_fp32",
            "kinds",
            "Parameters that stay in fp32, by kind or by globs over names: their modules compute in it.",
            KEPT_KINDS,
            example='[norms, router, "head.*"]',
            default="none",
        ),
    ),
    dataclass="Precision",
)
ADAMW = Form(
    "adamw",
    "Adam with decoupled weight decay.",
    (
        Key("lr", "real", "Peak learning rate.", example="3e-4"),
        Key("beta1", "real", "Decay rate of the mean of the gradients.", example="0.9", most=1),
        Key("beta2", "real", "Decay rate of the mean of their squares.", example="0.95", most=1),
        Key("eps", "real", "Added to the square root of the mean of the squares.", example="1e-8"),
        Key("weight_decay", "real", "Each step shrinks parameters by lr x weight_decay.", example="0.1"),
        Key("clip", "real", "Largest global gradient norm.", example="1.0", default="no clipping"),
        Key("warmup", "count", "Steps of linear warmup from zero.", example="100", least=0),
        Key("decay", "choice", "Schedule of the learning rate after the warmup.", DECAYS, example="cosine"),
        Key("min_lr", "real", "Final learning rate of the cosine schedule.", example="3e-5"),
        Key(
            "idle_experts",
            "choice",
            "What a step does to an expert that no token of the whole batch has reached.",
            IDLE_EXPERTS,
            example="skip",
        ),
    ),
    dataclass="Optimizer",
)
TOKENS = Form(
    "tokens",
    "Memory-mapped files of tokens.",
    (Key("type", "choice", "Data type of a token.", TOKEN_TYPES, example="uint16", default="`uint8`"),),
)
FILES = Form("files", "Text, as bytes; globs, relative to the plan file.")
TRAIN = Form(
    "train",
    "A training run. Any two plans of one `train` compute the same numbers.",
    (
        Key("model", "block", "The `model` block to train.", needed=True, example="moe"),
        Key("seed", "count", "Seed of the initial values.", example="1", least=0),
        Key("steps", "count", "Optimizer steps.", example="1000"),
        Key(
            "optimizer",
            "configured",
            "The optimizer and its settings.",
            OPTIMIZERS,
            example="adamw { lr = 3e-4 }",
            default="`adamw`",
        ),
        Key(
            "dataset",
            "call",
            "`files(..)`: text as bytes; `tokens(..)`: memory-mapped. Globs are relative to the plan file.",
            DATASETS,
            example='files("corpus/*.txt")',
            default="none: building needs it",
        ),
    ),
    (BATCH, LOSS, APPROXIMATE, PRECISION, ADAMW, TOKENS, FILES),
    "Train",
    ("label",),
)
