"""Clusters: what there is to run on."""

from __future__ import annotations

from parc.plan.schema.form import Form, Key
from parc.syntax import units

DEVICE = Form(
    "device",
    "One GPU.",
    (
        Key(
            "compute",
            "quantity",
            "Peak rate of dense matrix products in 16 bits.",
            dimension=units.COMPUTE,
            example="400 TFLOPS",
        ),
        Key(
            "compute_fp32",
            "quantity",
            "The same in fp32, for what `precision` computes so; without it, that of 16 bits is taken.",
            dimension=units.COMPUTE,
            example="60 TFLOPS",
        ),
        Key(
            "compute_fp64",
            "quantity",
            "The same in fp64.",
            dimension=units.COMPUTE,
            example="60 TFLOPS",
        ),
        Key("memory", "quantity", "What a device can hold.", dimension=units.SIZE, example="64 GB"),
        Key(
            "memory_bandwidth",
            "quantity",
            "How fast a device reads and writes its own memory.",
            dimension=units.BANDWIDTH,
            example="1.8 TB/s",
        ),
    ),
    facts="Device",
)
LINK = Form(
    "link",
    "The network of one level, which the block is named for: `link node { .. }`.",
    (
        Key(
            "bandwidth",
            "quantity",
            "What one device sends in one direction.",
            dimension=units.BANDWIDTH,
            example="50 GB/s",
        ),
        Key(
            "latency", "quantity", "How long one message is under way.", dimension=units.TIME, example="8 us"
        ),
    ),
    facts="Link",
    head=("label",),
    many=True,
)
LEVELS = Key(
    "levels",
    "sizes",
    "The levels of the network, outermost first: `[fabric: 8, node: 16]` is 8 nodes of 16 devices.",
    needed=True,
    example="[fabric: 8, node: 16]",
)
MACHINE = Form(
    "machine",
    'A kind of machine that clusters are made of; `import "parc:h100"` and the like have some.',
    (LEVELS,),
    (DEVICE, LINK),
    "Machine",
    ("label",),
)
CLUSTER = Form(
    "cluster",
    "What there is to run on: the levels of the network, a device, and a link for each level.",
    (
        LEVELS,
        Key("machine", "block", "The `machine` block that fills up what is not said of device and links."),
    ),
    (DEVICE, LINK),
    "Cluster",
    ("label",),
)
