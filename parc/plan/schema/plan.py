"""Plans and launches: where it is computed."""

from __future__ import annotations

from parc.plan.schema.form import Form, Key

SHARDS = ("none", "optimizer", "parameters")
SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero_bubble", "zbv", "dualpipev")
V_SHAPED = ("zbv", "dualpipev")  # two chunks a rank: down the pipeline and up again
SPLIT = ("zero_bubble", *V_SHAPED)  # the backward pass in two: of inputs, and of parameters
RECOMPUTES = ("none", "attention", "experts", "layer")

DATA = Form(
    "data",
    "Ranks along these axes have the same parameters and different sequences.",
    (Key("shard", "choice", "What the ranks divide among themselves instead of each holding it.", SHARDS),),
    facts="Data",
    head=("over",),
)
TENSOR = Form(
    "tensor",
    "Matrices are split over these axes.",
    (
        Key("sequence", "flag", "Whether activations between the matrices are split along the sequence."),
        Key("column", "texts", "Globs of parameters that are split by column.", example='["*.w_in"]'),
        Key("row", "texts", "Globs of parameters that are split by row.", example='["*.w_out"]'),
        Key("replicate", "texts", "Globs of parameters that every rank has whole.", example='["*.router"]'),
    ),
    facts="Tensor",
    head=("over",),
)
EXPERTS = Form(
    "experts",
    "Each rank along these axes has its share of the experts, and tokens travel to them.",
    (Key("tensor", "axes", "Axes that split each expert's matrices.", example="[tp]"),),
    facts="Experts",
    head=("over",),
)
PIPELINE = Form(
    "pipeline",
    "Layers are cut into stages, one after another along these axes.",
    (
        Key("schedule", "choice", "The order of forward and backward passes.", SCHEDULES, example='"1f1b"'),
        Key("chunks", "count", "Stages that each rank has."),
        Key(
            "layers",
            "counts",
            "Layers of each stage, ranks x chunks of them; as even as can be where it is left out.",
            example="[4, 4, 4, 4]",
        ),
    ),
    facts="Pipeline",
    head=("over",),
)
EXPECT = Form("expect", "What the plan claims of itself; each claim is judged.", claims=True)
PLAN = Form(
    "plan",
    "Where a `train` is computed: a mesh of named axes, and what is laid over each of them.",
    (
        Key(
            "mesh",
            "sizes",
            "Axes and their sizes, outermost first: on `[ep: 8, tp: 4]`, rank = ep * 4 + tp.",
            needed=True,
            example="[ep: 8, tp: 4]",
        ),
        Key("recompute", "choice", "What is computed again in the backward pass, not kept.", RECOMPUTES),
    ),
    (DATA, TENSOR, EXPERTS, PIPELINE, EXPECT),
    "Plan",
    ("label", "for", "on"),
)
LAUNCH = Form(
    "launch", "How a plan is started on a cluster.", facts="Launch", head=("label", "for"), open=True
)
