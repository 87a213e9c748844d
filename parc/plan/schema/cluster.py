"""Forms of `cluster`, `machine` and their sub-blocks."""

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
            "Peak rate of dense matrix products in 16-bit precision.",
            dimension=units.COMPUTE,
            example="400 TFLOPS",
        ),
        Key(
            "compute_fp32",
            "quantity",
            "Peak rate in fp32, used if `precision` computes in fp32.",
            dimension=units.COMPUTE,
            example="60 TFLOPS",
            default="that of 16-bit precision",
        ),
        Key(
            "compute_fp64",
            "quantity",
            "Peak rate in fp64, used if `precision` computes in fp64.",
            default="that of 16-bit precision",
            dimension=units.COMPUTE,
            example="60 TFLOPS",
        ),
        Key(
            "memory",
            "quantity",
            "Memory of one device, as the driver reports it: `80 GB` devices have 79.1 GiB.",
            dimension=units.SIZE,
            example="64 GB",
        ),
        Key(
            "reserved",
            "quantity",
            "Part of the memory that no tensor can have: the context of CUDA, buffers of NCCL.",
            dimension=units.SIZE,
            example="512 MiB",
            default="none",
        ),
        Key(
            "memory_bandwidth",
            "quantity",
            "Rate at which a device reads and writes its own memory.",
            dimension=units.BANDWIDTH,
            example="1.8 TB/s",
        ),
    ),
    dataclass="Device",
)
LINK = Form(
    "link",
    "The network of one level, which is the label of the block: `link node { .. }`.",
    (
        Key(
            "bandwidth",
            "quantity",
            "Rate at which one device sends in one direction.",
            dimension=units.BANDWIDTH,
            example="50 GB/s",
        ),
        Key("latency", "quantity", "Delay of one message.", dimension=units.TIME, example="8 us"),
    ),
    dataclass="Link",
    head=("label",),
    many=True,
)
LEVELS = Key(
    "levels",
    "sizes",
    "The levels of the network, outermost first: `[fabric: 8, node: 16]` means 8 nodes of 16 devices.",
    needed=True,
    example="[fabric: 8, node: 16]",
)
MACHINE = Form(
    "machine",
    'A type of machine that clusters refer to. `import "parc:h100"` and others provide some.',
    (LEVELS,),
    (DEVICE, LINK),
    "Machine",
    ("label",),
)
CLUSTER = Form(
    "cluster",
    "The hardware: the levels of the network, the device, and a link for each level.",
    (
        LEVELS,
        Key(
            "machine",
            "block",
            "The `machine` block that provides values that `device` and `link` leave out.",
            example="big",
            default="none",
        ),
    ),
    (DEVICE, LINK),
    "Cluster",
    ("label",),
)
