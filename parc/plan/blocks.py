"""What a plan file says, once resolved: plain frozen values, each fact keeping its span.

Units are SI: bytes, bytes per second, FLOP per second, seconds; a share (`90%`) is a float (0.9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from parc.plan.mesh import Mesh
from parc.record import dataclass
from parc.source import Span

Scalar: TypeAlias = bool | int | float | str
Argument: TypeAlias = "Scalar | tuple[Argument, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spanned:
    """A block of the file. `span` is the whole block, `spans` the value of each key that was written."""

    span: Span
    spans: Mapping[str, Span] = field(default_factory=dict)

    def at(self, key: str) -> Span:
        """The span of `key`, or of the whole block where the key was left to its default."""
        return self.spans.get(key, self.span)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the network, outermost first: `node: 16` is 16 devices a node."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Spanned):
    compute: float | None = None  # FLOP/s in 16 bits
    compute_fp32: float | None = None
    compute_fp64: float | None = None
    memory: float | None = None  # bytes
    memory_bandwidth: float | None = None  # bytes/s


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Spanned):
    """The network of one level, per device and direction."""

    level: str
    bandwidth: float | None = None  # bytes/s
    latency: float | None = None  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Spanned):
    """A kind of machine that clusters are made of."""

    name: str
    levels: tuple[Level, ...]  # as far as it has them, outermost first: a rack's, or a node's alone
    device: Device | None = None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(Spanned):
    """`device` and `links` are filled up with what is known of its `machine`."""

    name: str
    levels: tuple[Level, ...]
    machine: Machine | None = None
    device: Device | None = None
    links: tuple[Link, ...] = ()

    @property
    def devices(self) -> int:
        product = 1
        for level in self.levels:
            product *= level.size
        return product


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape(Spanned):
    """What checking may know of a model without running its code. None is unknown."""

    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    ffn: int | None = None  # of one expert, and of a dense layer unless `dense_ffn` is given
    dense_ffn: int | None = None
    shared_ffn: int | None = None  # of the shared expert; None or 0: there is none
    dense_layers: int = 0  # the first layers that have no experts
    gated: bool = False
    experts: int | None = None
    top_k: int | None = None
    vocab: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Spanned):
    name: str
    source: str  # "file.py:Factory", relative to the plan file, or "package.module:Factory"
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    shape: Shape
    tokens: str | None = None  # `inputs { tokens = "..", labels = ".." }`: names of forward's parameters
    labels: str | None = None
    experts: str | None = None  # glob of the experts modules; None: found by structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Spanned):
    sequences: int
    length: int
    microbatches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss(Spanned):
    balance: float = 0.0
    ignore_index: int = -100
    shift: Literal["data", "model"] = "data"  # who pairs position i with the token at i + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximate(Spanned):
    """Where what is computed depends on where it is computed: only by these words, and always told."""

    capacity: float | None = None  # rows of an expert over its even share; None: no token is dropped
    balance: Literal["microbatch", "rank"] = "microbatch"  # the tokens that a balance loss is taken over


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer(Spanned):
    """`adamw { .. }`: the only one so far."""

    name: Literal["adamw"] = "adamw"
    lr: float = 3e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float | None = None  # global gradient norm
    warmup: int = 0  # steps
    decay: Literal["constant", "cosine"] = "constant"
    min_lr: float = 0.0  # where the cosine ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision(Spanned):
    compute: Literal["fp32", "fp64", "bf16"] = "fp32"
    master: Literal["fp32", "fp64"] = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(Spanned):
    """`files("corpus/*.txt")`: text as bytes; `tokens("data.bin", type = "uint16")`: memory-mapped."""

    kind: Literal["files", "tokens"]
    patterns: tuple[str, ...]  # globs, relative to the plan file; `stdlib:*.py` is Python's standard library
    type: Literal["uint8", "uint16", "uint32", "int32"] = "uint8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(Spanned):
    """What is computed."""

    name: str
    model: Model
    batch: Batch
    loss: Loss
    optimizer: Optimizer
    precision: Precision
    dataset: Dataset | None = None
    approximate: Approximate | None = None
    seed: int = 0
    steps: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Data(Spanned):
    axes: tuple[str, ...]
    shard: Literal["none", "optimizer", "parameters"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor(Spanned):
    """Globs over parameter names state a placement; what they leave out is inferred (column, then row)."""

    axes: tuple[str, ...]
    sequence: bool = False
    column: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    replicate: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts(Spanned):
    axes: tuple[str, ...]
    tensor: tuple[str, ...] = ()  # axes that split each expert


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline(Spanned):
    axes: tuple[str, ...]
    schedule: str = "1f1b"
    chunks: int = 1
    layers: tuple[int, ...]  # a stage each, axis size x chunks entries; resolved evenly when left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Spanned):
    """One `expect` entry: `subject relation value`. `subjects.py` has what it may be about."""

    subject: str  # "devices", "memory.peak", .., or the name of a constant
    relation: Literal["==", "!=", "<=", ">=", "<", ">"]
    value: int | float
    half: float = 0.0  # of the last digit that the value is written with: `==` holds as far as it says
    unit: str = ""  # of the value: "B", "s", "FLOP", ..; "" is a plain number
    constant: int | float | None = None  # what the `let` is worth that the claim is about


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Spanned):
    """Where it is computed."""

    name: str
    train: Train
    cluster: Cluster
    mesh: Mesh
    data: Data | None = None
    tensor: Tensor | None = None
    experts: Experts | None = None
    pipeline: Pipeline | None = None
    recompute: Literal["none", "attention", "experts", "layer"] = "none"
    expect: tuple[Claim, ...] = ()
    misread: bool = False  # parts of it were not understood: what seems to be missing may be there
    tried: bool = False  # another one than the file says, to see what is wrong with it: nothing is proposed


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Spanned):
    kind: str  # "slurm", "torchrun", ..
    plan: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
