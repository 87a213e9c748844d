"""Tree to blocks: names, types, defaults, imports and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

import parc
from parc.check.load import choose
from parc.check.load import load as load_file
from parc.diagnostic import Diagnostic
from parc.plan import blocks
from parc.plan.blocks import Plan
from parc.plan.mesh import Axis, Mesh
from parc.plan.placement import spread_layers
from tests.front.plans import BLOCKS, SEED, complete, list_findings, load, summarize


def load_plan(text: str, *overrides: str) -> Plan:
    loaded = load(text, *overrides)
    assert loaded.diagnostics == ()
    (plan,) = loaded.plans
    return plan


# What a right plan says


def test_the_seed_plan() -> None:
    plan = load_plan(SEED)
    assert plan.name == "wide"
    assert plan.mesh == Mesh((Axis("ep", 8), Axis("pp", 4), Axis("tp", 4)))
    assert plan.cluster.levels == (blocks.Level("fabric", 8), blocks.Level("node", 16))
    assert plan.cluster.devices == 128
    device = plan.cluster.device
    assert device
    assert (device.compute, device.memory, device.memory_bandwidth) == (400e12, 64e9, 1.8e12)
    assert [(link.level, link.bandwidth, link.latency) for link in plan.cluster.links] == [
        ("node", 900e9, 3e-6),
        ("fabric", 50e9, 8e-6),
    ]
    train = plan.train
    assert (train.seed, train.steps, train.loss.balance) == (1, 1000, 0.01)
    assert (train.batch.sequences, train.batch.length, train.batch.microbatches) == (256, 1024, 32)
    assert (train.optimizer.lr, train.optimizer.clip, train.optimizer.beta2) == (3e-4, 1.0, 0.95)
    assert (train.precision.compute, train.precision.master) == ("bf16", "fp32")
    assert train.dataset
    assert (train.dataset.kind, train.dataset.patterns) == ("files", ("corpus/*.txt",))
    assert train.model.arguments == {
        "n_layers": 16,
        "dim": 1024,
        "ratios": (1, 2.5),
        "name": "moe",
        "tied": False,
    }
    shape = train.model.shape
    assert (shape.layers, shape.heads, shape.kv_heads, shape.head_dim, shape.gated) == (
        16,
        16,
        16,
        None,
        True,
    )
    assert plan.data
    assert plan.tensor
    assert plan.experts
    assert plan.pipeline
    assert (plan.data.axes, plan.data.shard) == (("ep",), "optimizer")
    assert (plan.tensor.axes, plan.tensor.sequence) == (("tp",), True)
    assert (plan.experts.axes, plan.experts.tensor) == (("ep",), ("tp",))
    assert (plan.pipeline.schedule, plan.pipeline.chunks, plan.pipeline.layers) == ("1f1b", 1, (4, 4, 4, 4))
    assert plan.recompute == "layer"
    assert [(claim.subject, claim.relation, claim.value) for claim in plan.expect] == [("devices", "==", 128)]


def test_launches() -> None:
    (launch,) = load(SEED).launches
    assert (launch.kind, launch.plan, launch.options) == ("slurm", "wide", {"partition": "gpu", "time": 7200})


def test_the_other_keys() -> None:
    plan = load_plan(
        complete("""
        model moe {
          source = "package.module:Factory"
          inputs { tokens = "idx", labels = "targets" }
          experts = "layers.*.experts"
        }
        train first {
          model = moe
          batch { sequences = 8, length = 16 }
          loss { balance = 1%, ignore_index = -1, shift = model }
          optimizer = adamw {
            lr = 1e-3, beta1 = 0.8, beta2 = 0.9, eps = 1e-6, weight_decay = 0, clip = 2, warmup = 10
            decay = cosine, min_lr = 1e-5
          }
          precision { compute = fp64, master = fp64 }
          dataset = tokens("data.bin", type = uint16)
        }
        plan wide for first on farm {
          mesh = [tp: 2]
          tensor over [tp] { column = ["*.w_in", "*.w_gate"], row = "*.w_out", replicate = [] }
        }
        """)
    )
    train, model = plan.train, plan.train.model
    assert (model.source, model.tokens, model.labels) == ("package.module:Factory", "idx", "targets")
    assert model.experts == "layers.*.experts"
    assert (train.loss.balance, train.loss.ignore_index, train.loss.shift) == (0.01, -1, "model")
    optimizer = train.optimizer
    assert (optimizer.beta1, optimizer.beta2, optimizer.eps, optimizer.weight_decay) == (0.8, 0.9, 1e-6, 0.0)
    assert (optimizer.warmup, optimizer.decay, optimizer.min_lr) == (10, "cosine", 1e-5)
    assert train.dataset
    assert (train.dataset.kind, train.dataset.patterns, train.dataset.type) == (
        "tokens",
        ("data.bin",),
        "uint16",
    )
    assert plan.tensor
    assert (plan.tensor.column, plan.tensor.row) == (("*.w_in", "*.w_gate"), ("*.w_out",))
    assert (plan.tensor.replicate, plan.tensor.sequence) == ((), False)


def test_each_fact_keeps_its_span() -> None:
    plan = load_plan(SEED)
    assert plan.train.batch.at("microbatches").text == "32"
    assert plan.at("mesh.pp").text == "pp: 4"
    assert plan.at("name").text == "wide"
    assert plan.at("train").text == "first"
    assert plan.cluster.at("levels.node").text == "node: 16"
    assert plan.experts
    assert plan.experts.at("axes.ep").text == "ep"
    assert plan.experts.at("tensor.tp").text == "tp"
    assert plan.train.optimizer.at("lr").text == "3e-4"
    assert plan.train.optimizer.at("beta1").text == "adamw { lr = 3e-4, clip = 1.0 }"  # a default: the block


@pytest.mark.parametrize(
    ("layers", "stages", "shares"),
    [(16, 4, (4, 4, 4, 4)), (7, 3, (3, 2, 2)), (3, 3, (1, 1, 1)), (2, 3, ())],
)
def test_layers_are_spread_as_evenly_as_can_be(layers: int, stages: int, shares: tuple[int, ...]) -> None:
    assert spread_layers(layers, stages) == shares


def test_a_pipeline_without_layers_spreads_those_of_the_shape() -> None:
    loaded = load(complete("plan wide for first on farm {\n mesh = [pp: 3]\n pipeline over [pp]\n}"))
    assert [each.code for each in loaded.diagnostics] == ["P226"]  # told, since nothing says which gets more
    (plan,) = loaded.plans
    assert plan.pipeline
    assert plan.pipeline.layers == (6, 5, 5)
    where = "plan wide for first on farm {\n mesh = [pp: 3]\n pipeline over [pp]\n}"
    unknown = f'model moe {{ source = "moe.py:M" }}\n{where}'
    assert list_findings(complete(unknown)) == [("P104", "pipeline")]


def test_constants_may_stand_for_any_value() -> None:
    text = complete("""
    let width = 512
    let sizes = [4, 4, 8]
    let how = cosine
    model moe { source = "m.py:M", arguments { width = width, sizes = sizes }, shape { hidden = 2 * width } }
    train first { model = moe, batch { sequences = 32, length = width }, optimizer = adamw { decay = how } }
    """)
    plan = load_plan(text)
    assert plan.train.model.arguments == {"width": 512, "sizes": (4, 4, 8)}
    assert (plan.train.model.shape.hidden, plan.train.batch.length) == (1024, 512)
    assert plan.train.optimizer.decay == "cosine"


# What a faulty one says

TRAIN = "train first { model = moe, batch { sequences = 32, length = 8 }, KEY }"
PLAN = "plan wide for first on farm {\n mesh = [dp: 4]\n data over [dp]\n KEY\n}"


@pytest.mark.parametrize(
    ("block", "key", "fault"),
    [
        (TRAIN, "sede = 1", ("P102", "sede")),
        (TRAIN, "batch = 3", ("P102", "batch")),
        (TRAIN, "model { }", ("P103", "model")),
        (TRAIN, "los { }", ("P103", "los")),
        (TRAIN, "steps = 1.5", ("P106", "1.5")),
        (TRAIN, "steps = 3 s", ("P106", "3 s")),
        (TRAIN, "steps = true", ("P106", "true")),
        (TRAIN, "steps = 0", ("P111", "0")),
        (TRAIN, "seed = -1", ("P111", "-1")),
        (TRAIN, "steps = many", ("P101", "many")),
        (TRAIN, "steps = 1, steps = 2", ("P105", "steps")),
        (TRAIN, "loss { balance = -1 }", ("P111", "-1")),
        (TRAIN, "loss { ignore_index = -1.5 }", ("P111", "-1.5")),
        (TRAIN, "loss { ignore_index = 1e30 }", ("P111", "1e30")),
        (TRAIN, "optimizer = adamw { clip = 0 }", ("P111", "0")),
        (TRAIN, "loss { shift = both }", ("P107", "both")),
        (TRAIN, "loss { }, loss { }", ("P105", "loss")),
        (TRAIN, "precision { compute = fp8 }", ("P107", "fp8")),
        (TRAIN, "optimizer = sgd { }", ("P107", "sgd")),
        (TRAIN, "optimizer = 3", ("P106", "3")),
        (TRAIN, "optimizer = adamw { beta1 = 1.5 }", ("P111", "1.5")),
        (TRAIN, 'dataset = "a.txt"', ("P106", '"a.txt"')),
        (TRAIN, "dataset = files()", ("P104", "files()")),
        (TRAIN, "dataset = files(a)", ("P106", "a")),
        (TRAIN, 'dataset = files("a", type = uint8)', ("P102", "type")),
        (TRAIN, 'dataset = tokens("a", type = "uint9")', ("P107", '"uint9"')),
        (TRAIN, "x == 3", ("P117", "x == 3")),
        (PLAN, "recompute = everything", ("P107", "everything")),
        (PLAN, "data over [dp]", ("P105", "data")),
        (PLAN, "tensor over [tp]", ("P301", "tp")),
        (PLAN, "tensor over [3]", ("P106", "3")),
        (PLAN, "tensor { }", ("P117", "tensor")),
        (PLAN, "experts x over [dp]", ("P117", "x")),
        (PLAN, "experts over [dp] { tensor = dp }", ("P106", "dp")),
        (PLAN, "expect { speed > 3 }", ("P101", "speed")),
        (PLAN, "expect { devices == 3 GB }", ("P109", "3 GB")),
        (PLAN, "expect { mfu > high }", ("P106", "high")),
        (PLAN, 'import "x"', ("P117", 'import "x"')),
        ("KEY", "x = 3", ("P117", "x")),
        ("KEY", "clutser other { levels = [node: 4] }", ("P103", "clutser")),
        ("KEY", "launch slurm for none { }", ("P101", "none")),
        ("KEY", "cluster other on farm { levels = [a: 1] }", ("P117", "farm")),
        ("KEY", "cluster other { }", ("P104", "cluster other")),
        ("KEY", "cluster other { levels = 3 }", ("P106", "3")),
        ("KEY", "cluster other { levels = [node] }", ("P106", "node")),
        ("KEY", "cluster other { levels = [node: 0] }", ("P111", "0")),
        ("KEY", "cluster other { levels = [node: 1, node: 2] }", ("P105", "node: 2")),
        ("KEY", "cluster other { levels = [n: 1], link m { } }", ("P101", "m")),
        ("KEY", "cluster other { levels = [n: 1], link { } }", ("P117", "link")),
        ("KEY", "cluster other { levels = [n: 1], link n { latency = 3 GB } }", ("P109", "3 GB")),
        ("KEY", "cluster other { levels = [n: 1], device { memory = 0 GB } }", ("P111", "0 GB")),
        ("KEY", "cluster other { levels = [n: 1], device { memory = 80 } }", ("P109", "80")),
        ("KEY", 'model other { source = "moe.py" }', ("P106", '"moe.py"')),
        ("KEY", "model other { source = moe }", ("P101", "moe")),
    ],
)
def test_one_fault_gives_one_diagnostic(block: str, key: str, fault: tuple[str, str]) -> None:
    assert list_findings(complete(block.replace("KEY", key))) == [fault]


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("train first { model = moe, batch { sequences = 32, lenght = 8 } }", "did you mean `length`?"),
        ("plan wide for frist on farm {\n mesh = [dp: 4]\n data over [dp]\n}", "did you mean `first`?"),
        ("plan wide for first on farm {\n mesh = [dp: 4, tp: 1]\n data over [pd]\n}", "did you mean `dp`?"),
        (
            "plan wide for first on farm {\n mesh = [dp: 4]\n data over [dp] { shrad = none }\n}",
            "did you mean `shard`?",
        ),
        (TRAIN.replace("KEY", "batch = 3"), "`batch` is a block: `batch { .. }`"),
        (TRAIN.replace("KEY", "model { }"), "`model` is a key: `model = ..`"),
    ],
)
def test_did_you_mean(text: str, help: str) -> None:
    assert help in [fault.help for fault in load(complete(text)).diagnostics]


def test_a_key_that_an_unknown_one_may_mean_is_not_missing() -> None:
    text = complete("train first { model = moe, batch { sequences = 32, lenght = 8 } }")
    assert list_findings(text) == [("P102", "lenght")]
    text = complete("train first { model = moe, bacth { sequences = 32, length = 8 } }")
    assert list_findings(text) == [("P103", "bacth")]
    text = complete("train first { model = moe, batch { sequences = 32, seq_len = 8 } }")
    assert list_findings(text) == [("P102", "seq_len")]


def test_a_dropped_statement_is_not_missed_again() -> None:
    text = complete("train first {\n model = moe\n batch { sequences = 32\n length 8 ] ] }\n}")
    assert [code for code, _ in list_findings(text)] == ["P001"]


def test_a_name_whose_block_was_dropped_is_not_called_unknown() -> None:
    text = f"train first ] ] {{ model = moe }}\n{BLOCKS['model']}\ncluster farm {{ levels = [node: 1] }}"
    assert [code for code, _ in list_findings(text + "\nplan wide for first on farm { mesh = [x: 1] }")] == [
        "P001"
    ]


def test_a_faulty_block_does_not_hide_the_faults_of_others() -> None:
    text = complete(
        "cluster farm { }\nmodel moe { sorce = 3 }\n"
        "train first { model = moe }\nplan wide for first on farm { }"
    )
    assert list_findings(text) == [
        ("P104", "cluster farm"),
        ("P102", "sorce"),
        ("P104", "train first"),
        ("P104", "plan wide"),
    ]


def test_faults_come_in_the_order_of_the_file() -> None:
    text = complete(f"let a = b + 1\n{PLAN.replace('KEY', 'x = 1')}\nlet b = 3 GBs")
    assert [code for code, _ in list_findings(text)] == ["P102", "P108"]


# Settings


def test_set_replaces_adds_and_reaches_into_blocks() -> None:
    plan = load_plan(
        complete("let n = 4"),
        "first.batch.microbatches=8",
        "first.seed = 7",
        "first.loss.balance = 0.5",
        "wide.mesh = [dp: 4]",
        "wide.data.shard = parameters",
    )
    assert (plan.train.batch.microbatches, plan.train.seed, plan.train.loss.balance) == (8, 7, 0.5)
    assert plan.data
    assert plan.data.shard == "parameters"


def test_set_reaches_into_a_configured_value_and_a_constant() -> None:
    text = complete(
        "let n = 4\n"
        "train first { model = moe, batch { sequences = 32, length = n }, optimizer = adamw { lr = 1 } }"
    )
    plan = load_plan(text, "first.optimizer.clip = 3", "n = 16")
    assert (plan.train.optimizer.lr, plan.train.optimizer.clip, plan.train.batch.length) == (1.0, 3.0, 16)


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("frist.seed = 3", ("P116", "frist")),
        ("n = 3", ("P116", "n")),
        ("first = 3", ("P116", "first")),
        ("first.sede = 3", ("P102", "sede")),
        ("first.seed = x y", ("P001", "y")),
        ("first.seed", ("P001", "")),
        ("first.batch.microbatches = 5", ("P208", "32")),
    ],
)
def test_a_faulty_setting_is_reported_where_it_stands(setting: str, fault: tuple[str, str]) -> None:
    (found,) = load(complete(""), setting).diagnostics
    assert summarize(found) == fault
    assert found.span
    assert any(label.span.source.path == "--set" for label in found.labels)


# Imports


def write_files(folder: Path, **files: str) -> Path:
    """The folder of a project with these plan files; the path of `plan`."""
    (folder / ".git").mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.parc"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder / "plan.parc"


def list_codes(path: Path) -> list[tuple[str, str]]:
    return [summarize(fault) for fault in load_file(path).diagnostics]


def test_blocks_and_constants_are_imported(tmp_path: Path) -> None:
    path = write_files(
        tmp_path,
        hardware="let devices = 4\ncluster farm { levels = [node: devices] }",
        models__moe=BLOCKS["model"] + '\nimport "../hardware.parc"',
        plan='import "hardware.parc"\nimport "models/moe.parc"\n'
        + BLOCKS["train"]
        + "\n"
        + "plan wide for first on farm {\n mesh = [dp: devices]\n data over [dp]\n}",
    )
    loaded = load_file(path)
    assert loaded.diagnostics == ()
    assert [plan.mesh.size for plan in loaded.plans] == [4]
    assert [Path(source.path).name for source in loaded.sources] == ["plan.parc", "hardware.parc", "moe.parc"]


def test_plans_of_an_imported_file_are_checked_but_not_this_file_s(tmp_path: Path) -> None:
    other = complete("").replace("plan wide", "plan other")
    path = write_files(tmp_path, other=other, plan='import "other.parc"\n' + BLOCKS["plan"])
    assert [plan.name for plan in load_file(path).plans] == ["wide"]


def test_a_fault_in_an_imported_file_is_reported_there(tmp_path: Path) -> None:
    path = write_files(tmp_path, hardware="cluster farm { }", plan='import "hardware.parc"')
    (fault,) = load_file(path).diagnostics
    assert fault.span
    assert (fault.code, Path(fault.span.source.path).name) == ("P104", "hardware.parc")


def test_circles_of_imports_are_reported(tmp_path: Path) -> None:
    path = write_files(tmp_path, plan='import "a.parc"', a='import "b.parc"', b='import "a.parc"')
    (fault,) = load_file(path).diagnostics
    assert fault.code == "P113"
    assert [Path(label.span.source.path).name for label in fault.labels] == ["b.parc", "a.parc"]
    assert list_codes(write_files(tmp_path, plan='import "plan.parc"')) == [("P113", 'import "plan.parc"')]


@pytest.mark.parametrize(
    "wanted",
    ["../outside.parc", "/etc/hosts", "a/../../outside.parc", "link.parc", "../../../../../../etc/hosts"],
)
def test_imports_do_not_leave_the_project(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "outside.parc").write_text("let secret = 1")
    project = tmp_path / "project"
    project.mkdir()
    (project / "link.parc").symlink_to(tmp_path / "outside.parc")
    assert list_codes(write_files(project, plan=f'import "{wanted}"')) == [("P114", f'"{wanted}"')]


@pytest.mark.parametrize("wanted", ["none.parc", ".", "", "a\\0b", "loop.parc"])
def test_what_cannot_be_imported_is_reported(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "loop.parc").symlink_to(tmp_path / "loop.parc")
    assert [code for code, _ in list_codes(write_files(tmp_path, plan=f'import "{wanted}"'))] == ["P112"]


def test_the_same_name_in_two_files_is_reported(tmp_path: Path) -> None:
    path = write_files(tmp_path, a="let x = 1", plan='import "a.parc"\nlet x = 2')
    (fault,) = load_file(path).diagnostics
    assert fault.code == "P105"


# Files and plans


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert list_codes(tmp_path / "none.parc") == [("P009", "")]
    assert list_codes(tmp_path) == [("P009", "")]
    (tmp_path / "binary.parc").write_bytes(b"let a = 1\n\xff\xfe")
    (fault,) = load_file(tmp_path / "binary.parc").diagnostics
    assert (fault.code, "line 2" in fault.message) == ("P008", True)


def test_line_ends_and_the_mark_of_windows(tmp_path: Path) -> None:
    (tmp_path / "plan.parc").write_bytes(b"\xef\xbb\xbf" + complete("").replace("\n", "\r\n").encode())
    assert list_codes(tmp_path / "plan.parc") == []


def test_choosing_a_plan() -> None:
    loaded = load(complete(BLOCKS["plan"] + BLOCKS["plan"].replace("wide", "deep")))
    assert [plan.name for plan in loaded.plans] == ["wide", "deep"]
    chosen = choose(loaded, "deep")
    assert isinstance(chosen, Plan)
    assert chosen.name == "deep"
    several = choose(loaded, None)
    assert isinstance(several, Diagnostic)
    assert (several.code, several.help) == ("P118", "its plans are `wide`, `deep`")
    assert [label.span.text for label in several.labels] == ["wide", "deep"]
    unknown = choose(loaded, "deap")
    assert isinstance(unknown, Diagnostic)
    assert unknown.help == "did you mean `deep`?"
    assert isinstance(choose(load(complete(BLOCKS["plan"])), None), Plan)
    none = choose(load("let a = 1"), None)
    assert isinstance(none, Diagnostic)
    assert none.message == "the file has no plan"


def test_the_python_interface(tmp_path: Path) -> None:
    (tmp_path / "plan.parc").write_text(complete(""))
    loaded = parc.load(tmp_path / "plan.parc", ["first.seed=3"])
    assert loaded.ok
    assert loaded.plans[0].train.seed == 3
    assert [fault.code for fault in parc.check("let x = 1 / 0")] == ["P110"]
