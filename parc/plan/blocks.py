"""The blocks of a plan file after resolution: plain frozen values that keep the spans of their keys.

Units are SI: bytes, bytes per second, FLOP per second, seconds; a share (`90%`) is a float (0.9).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from parc.plan.mesh import Mesh
from parc.record import dataclass, field
from parc.source import Span

Scalar: TypeAlias = bool | int | float | str
NumberType: TypeAlias = Literal["fp32", "fp64", "bf16"]
TORCH_NAMES = {"fp32": "torch.float32", "fp64": "torch.float64", "bf16": "torch.bfloat16"}
BITS = {"fp32": 32, "fp64": 64, "bf16": 16}
Argument: TypeAlias = "Scalar | tuple[Argument, ...]"


def choose_type(stated: NumberType, keep_fp32: bool) -> NumberType:
    """The type of a quantity that the plan states: of a parameter that is kept in fp32 at least that."""
    return "fp32" if keep_fp32 and BITS[stated] < BITS["fp32"] else stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Spanned:
    """A block of the file. `span` covers the whole block, `spans` the value of each key that is written."""

    span: Span
    spans: Mapping[str, Span] = field(default_factory=dict)

    def at(self, key: str) -> Span:
        """The span of `key`, or of the whole block if the key has its default value."""
        return self.spans.get(key, self.span)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the network: `node: 16` means 16 devices per node."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Spanned):
    compute: float | None = None  # FLOP/s in 16 bits
    compute_fp32: float | None = None
    compute_fp64: float | None = None
    memory: float | None = None  # bytes
    reserved: float | None = None  # bytes of the memory that no tensor can have
    memory_bandwidth: float | None = None  # bytes/s

    @property
    def usable(self) -> float | None:
        """Bytes that tensors can have; None where the memory is unknown."""
        return None if self.memory is None else self.memory - (self.reserved or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Spanned):
    """The network of one level. Figures are per device and direction."""

    level: str
    bandwidth: float | None = None  # bytes/s
    latency: float | None = None  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Spanned):
    """A type of machine, such as one from the hardware library, that clusters refer to."""

    name: str
    levels: tuple[Level, ...]  # inside the machine, outermost first: a rack and its nodes, or a node alone
    device: Device | None = None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(Spanned):
    """Values that `device` and `links` leave out are taken from `machine`."""

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
    """The sizes of a model, known without running its code. None: unknown."""

    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    ffn: int | None = None  # of one expert, and of a dense layer unless `dense_ffn` is given
    dense_ffn: int | None = None
    shared_ffn: int | None = None  # of the shared expert; None or 0: no shared expert
    dense_layers: int = 0  # leading layers that have no experts
    gated: bool = False
    experts: int | None = None
    top_k: int | None = None
    vocab: int | None = None
    tied: bool = False  # the head is the embedding
    expert_layers: int | None = None  # layers that have experts, where others lie among them
    attention_layers: int | None = None  # layers that have attention; None: all
    latent: tuple[int, ...] = ()  # of latent attention, as in the schema; (): plain attention
    other: int | None = None  # parameters that none of these keys counts
    misread: bool = False  # parts of it could not be read, so nothing follows from what seems missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(Spanned):
    name: str
    source: str  # "file.py:Factory", relative to the plan file, or "package.module:Factory"
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    shape: Shape
    tokens: str | None = (
        None  # `inputs { tokens = "..", labels = ".." }`: names of the parameters of `forward`
    )
    labels: str | None = None
    experts: str | None = None  # glob over the names of expert modules; None: found by their structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Spanned):
    sequences: int
    length: int
    microbatches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss(Spanned):
    balance: float = 0.0
    ignore_index: int = -100
    shift: Literal["data", "model"] = "data"  # who pairs position i with token i + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Approximate(Spanned):
    """Permitted approximations of what the model alone computes. Each one is always reported."""

    capacity: float | None = None  # most rows of an expert / its even share; None: no token is dropped
    balance: Literal["microbatch", "rank"] = (
        "microbatch"  # the tokens over which the balance loss is computed; "rank": those of a rank of data
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer(Spanned):
    """`adamw { .. }`, the only optimizer so far."""

    name: Literal["adamw"] = "adamw"
    lr: float = 3e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float | None = None  # largest global gradient norm; None: no clipping
    warmup: int = 0  # steps
    decay: Literal["constant", "cosine"] = "constant"
    min_lr: float = 0.0  # final value of the cosine
    idle_experts: Literal["update", "skip"] = "update"  # those that no token of a step has reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision(Spanned):
    compute: NumberType = "fp32"
    master: NumberType = "fp32"  # of parameters, as the optimizer updates them
    gradients: NumberType = "fp32"  # as they are added up over microbatches
    reduce: NumberType = "fp32"  # of gradients as ranks send and sum them
    moments: NumberType = "fp32"  # of the optimizer, between two steps
    keep_fp32: tuple[str, ...] = ()  # parameters that stay in fp32: `norms`, `router`, globs over names


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(Spanned):
    """`files("corpus/*.txt")`: text as bytes; `tokens("data.bin", type = uint16)`: memory-mapped."""

    kind: Literal["files", "tokens"]
    patterns: tuple[str, ...]  # globs relative to the plan file; `stdlib:` is the standard library of Python
    type: Literal["uint8", "uint16", "uint32", "int32"] = "uint8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(Spanned):
    """A training run: what is computed."""

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
    shard: Literal["none", "optimizer", "gradients", "parameters"] = "none"
    shard_over: tuple[str, ...] = ()  # of the axes; (): all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor(Spanned):
    """Globs over parameter names fix a placement; other placements are inferred (column, then row)."""

    axes: tuple[str, ...]
    sequence: bool = False
    column: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    replicate: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts(Spanned):
    axes: tuple[str, ...]
    tensor: tuple[str, ...] = ()  # axes that split the matrices of each expert


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline(Spanned):
    axes: tuple[str, ...]
    schedule: str = "1f1b"
    chunks: int = 1
    layers: tuple[int, ...]  # of each stage: axis size x chunks entries; spread evenly if left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Spanned):
    """One entry of `expect`: `subject relation value`. `subjects.py` lists the subjects."""

    subject: str  # "devices", "memory.peak", .., or the name of a constant
    relation: Literal["==", "!=", "<=", ">=", "<", ">"]
    value: int | float
    rounding: float = 0.0  # half a unit of the last digit as written: `==` holds within it
    unit: str = ""  # of `value`: "B", "s", "FLOP", ..; "" for a plain number
    constant: int | float | None = None  # value of the `let` constant that is the subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Spanned):
    """A layout of a training run on a cluster: where it is computed."""

    name: str
    train: Train
    cluster: Cluster
    mesh: Mesh
    data: Data | None = None
    tensor: Tensor | None = None
    experts: Experts | None = None
    pipeline: Pipeline | None = None
    recompute: Literal["none", "attention", "experts", "layer"] = "none"
    resends: bool = False  # whether recomputation issues collectives again: their results do not fit
    expect: tuple[Claim, ...] = ()
    misread: bool = False  # parts of it could not be read, so nothing follows from what seems missing

    @property
    def strategies(self) -> dict[str, Data | Tensor | Experts | Pipeline]:
        """The strategies that the plan has, by name."""
        names = ("data", "tensor", "experts", "pipeline")
        blocks = (self.data, self.tensor, self.experts, self.pipeline)
        return {name: block for name, block in zip(names, blocks, strict=True) if block}

    def list_axes(self, strategy: str) -> tuple[str, ...]:
        """The axes that a strategy is laid over; none where the plan does not have it."""
        block = self.strategies.get(strategy)
        return block.axes if block else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Spanned):
    kind: str  # "slurm", "torchrun", ..
    plan: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
