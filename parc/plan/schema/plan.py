"""Forms of `plan` and its strategies."""

from __future__ import annotations

from parc.plan.schema.form import Form, Key

SHARDS = ("none", "optimizer", "gradients", "parameters")
SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero_bubble", "zbv", "dualpipev")
V_SHAPED = (
    "zbv",
    "dualpipev",
)  # two chunks per rank: the first from the first stage on, the second backwards from the last
SPLIT = ("zero_bubble", *V_SHAPED)  # the backward pass is split: gradients of inputs, then of parameters
RECOMPUTES = ("none", "attention", "experts", "layer")

DATA = Form(
    "data",
    "Data parallelism: ranks along these axes have the same parameters and different sequences.",
    (
        Key(
            "shard",
            "choice",
            "What is sharded over the ranks instead of replicated.",
            SHARDS,
            example="optimizer",
        ),
        Key(
            "shard_over",
            "axes",
            "The axes whose ranks share what is sharded. Along the others it is replicated (HSDP). Experts "
            "are sharded over those of them along which they are the same.",
            example="[ep]",
            default="all axes of `data`",
        ),
    ),
    dataclass="Data",
    head=("over",),
)
TENSOR = Form(
    "tensor",
    "Tensor parallelism: matrices are split over these axes.",
    (
        Key(
            "sequence",
            "flag",
            "Whether activations between the matrices are split along the sequence, too.",
            example="true",
        ),
        Key(
            "column",
            "texts",
            "Globs of parameters that are split by column.",
            example='["*.w_in"]',
            default="inferred",
        ),
        Key(
            "row",
            "texts",
            "Globs of parameters that are split by row.",
            example='["*.w_out"]',
            default="inferred",
        ),
        Key(
            "replicate",
            "texts",
            "Globs of parameters that are not split.",
            example='["*.router"]',
            default="none but what is inferred",
        ),
    ),
    dataclass="Tensor",
    head=("over",),
)
EXPERTS = Form(
    "experts",
    "Expert parallelism: experts are distributed over these axes, and tokens are sent to them. They may be "
    "those of `data` and of `tensor`, or others: along axes whose ranks hold the same tokens each rank runs "
    "its own experts, and their results are added up. Experts follow the ranks in the order of the mesh.",
    (
        Key(
            "tensor",
            "axes",
            "Axes that split the matrices of each expert: those of `tensor`, others without data, or both.",
            example="[tp]",
            default="none: each expert is whole",
        ),
    ),
    dataclass="Experts",
    head=("over",),
)
PIPELINE = Form(
    "pipeline",
    "Pipeline parallelism: consecutive stages of layers are distributed over these axes, in the order of the "
    "mesh.",
    (
        Key("schedule", "choice", "The order of forward and backward passes.", SCHEDULES, example="1f1b"),
        Key("chunks", "count", "Stages on each rank.", example="1"),
        Key(
            "layers",
            "counts",
            "Layers of each stage: ranks x chunks entries.",
            example="[4, 4, 4, 4]",
            default="as even as possible",
        ),
    ),
    dataclass="Pipeline",
    head=("over",),
)
EXPECT = Form("expect", "Claims of the plan about itself; each claim is judged.", claims=True)
PLAN = Form(
    "plan",
    "The layout of a `train`: a mesh of named axes, and the strategies that are laid over them.",
    (
        Key(
            "mesh",
            "sizes",
            "Axes and their sizes, outermost first: on `[ep: 8, tp: 4]`, rank = ep * 4 + tp.",
            needed=True,
            example="[ep: 8, pp: 4, tp: 4]",
        ),
        Key(
            "recompute",
            "choice",
            "What the backward pass recomputes instead of storing it.",
            RECOMPUTES,
            example="layer",
        ),
    ),
    (DATA, TENSOR, EXPERTS, PIPELINE, EXPECT),
    "Plan",
    ("label", "for", "on"),
)
