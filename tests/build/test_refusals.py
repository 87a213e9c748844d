"""What cannot be built is refused in words that point at the guilty line, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.capture.model import stored_values
from tests.build.projects import ALL, DATA, EXPERTS, TENSOR, Project

UNPRINTABLE = "raise type('Bad', (Exception,), {'__str__': None, '__repr__': None})()"
"""An exception that has no message: to ask for it raises another one."""

UP = "        hidden = F.relu(self.up(x))"
FEED = "        x = x + self.feed(x)"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_the_project_that_the_others_break_builds(project: Project) -> None:
    assert project.build() == ()
    assert (project.out / "train.py").is_file()


# The plan


def test_a_plan_that_does_not_parse(project: Project) -> None:
    (fault,) = project.says("model = net, seed = 3", "model = net, seed 3").faults()
    assert (fault.code, fault.line) == ("P001", "model = net, seed 3, steps = 4")


def test_a_plan_that_does_not_fit(project: Project) -> None:
    project.layout, project.devices = "mesh = [dp: 3], data over [dp]", 3
    (fault,) = project.faults()
    assert (fault.code, fault.file) == ("P208", "plan.parc")
    assert "8 sequences" in fault.words
    assert project.layout in fault.lines


def test_every_fault_of_a_plan_is_told_at_once(project: Project) -> None:
    project.says("model = net", "model = nut").says("for first on here", "for first on there")
    assert [fault.line for fault in project.faults()] == [
        "model = nut, seed = 3, steps = 4",
        "plan wide for first on there {",
    ]


@pytest.mark.parametrize("shard", ["gradients", "parameters"])
def test_layers_are_not_sharded_in_a_split_backward_pass(project: Project, shard: str) -> None:
    schedule = "pipeline over [pp] { schedule = zero_bubble }"
    project.layout = f"mesh = [pp: 2, dp: 2], data over [dp] {{ shard = {shard} }}, {schedule}"
    project.devices = 4
    (fault,) = project.faults()
    assert (fault.code, fault.line) == ("P309", project.layout)
    assert f"`shard = {shard}` needs the end of each layer's backward pass" in fault.words


def test_a_setting_that_makes_it_not_fit(project: Project) -> None:
    (fault, *_) = project.faults("first.batch.microbatches=3")
    assert fault.code == "P208"


# The model's module


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nut.py:Net", "no file"),
        ("no_such_package.net:Net", "no_such_package"),
        ("net.py:Nut", "has no `Nut`"),
    ],
)
def test_a_source_that_is_not_there(project: Project, source: str, says: str) -> None:
    (fault,) = project.says("net.py:Net", source).faults()
    assert (fault.code, fault.line) == ("P501", f'source = "{source}"')
    assert says in fault.words


def test_a_missing_factory_lists_those_there_are(project: Project) -> None:
    (fault,) = project.says("net.py:Net", "net.py:Nut").faults()
    assert "`Net`" in fault.words


@pytest.mark.parametrize(
    "line", ["1 / 0", "raise SystemExit(0)", "open('no_such_file.json')", "import no_such", UNPRINTABLE]
)
def test_a_module_that_fails_when_it_is_imported(project: Project, line: str) -> None:
    (fault,) = project.model("class Net(", f"{line}\n\n\nclass Net(").faults()
    assert (fault.code, fault.file, fault.line) == ("P501", "net.py", line)
    assert 'source = "net.py:Net"' in fault.lines


def test_a_module_with_a_syntax_error(project: Project) -> None:
    (fault,) = project.model(FEED, FEED.removesuffix(")")).faults()
    assert (fault.code, fault.file, fault.line) == ("P501", "net.py", FEED.strip().removesuffix(")"))


def test_a_module_of_bytes_that_are_no_text(project: Project) -> None:
    file = project.write()
    (file.parent / "net.py").write_bytes(b"\xff\xfe\0 class")
    from parc import driver

    (fault,) = driver.build(file, None, project.out).diagnostics
    assert fault.code == "P501"
    assert not project.out.exists()


# Its constructor


@pytest.mark.parametrize("line", ['raise ValueError("no such width")', "raise SystemExit(3)", UNPRINTABLE])
def test_a_constructor_that_raises(project: Project, line: str) -> None:
    (fault,) = project.model(
        "        self.embedding = nn.Embedding(vocab, width)", f"        {line}"
    ).faults()
    assert (fault.code, fault.file, fault.line) == ("P502", "net.py", line)


@pytest.mark.parametrize("arguments", ["layers = 2, depth = 3", "width = 16"])
def test_arguments_that_the_constructor_does_not_take(project: Project, arguments: str) -> None:
    if "depth" not in arguments:
        project.model("layers=2, width=16", "layers, width=16")  # and one that it needs
    (fault,) = project.says("arguments { layers = 2 }", f"arguments {{ {arguments} }}").faults()
    assert (fault.code, fault.file, fault.line) == ("P502", "plan.parc", f"arguments {{ {arguments} }}")


def test_a_factory_that_makes_no_module(project: Project) -> None:
    project.model("class Net(", "def make(layers):\n    return 3\n\n\nclass Net(")
    (fault,) = project.says("net.py:Net", "net.py:make").faults()
    assert (fault.code, fault.line) == ("P502", 'source = "net.py:make"')
    assert "torch.nn.Module" in fault.words


def test_a_parameter_that_is_never_filled(project: Project) -> None:
    line = "        self.up = nn.Linear(width, inner, bias=False)"
    project.model(line, f"{line}\n        self.up.weight = nn.Parameter(torch.empty(inner, width))")
    faults = project.faults()
    assert {fault.code for fault in faults} == {"P503"}
    assert [fault.words for fault in faults if "layers.0.feed.up.weight" in fault.words]
    assert "torch.nn.init" in faults[0].words


@pytest.mark.parametrize(
    ("limit", "told"),
    [("MOST_STORED", "would be stored, at most"), ("MOST_BUILT", "would be built on this machine")],
)
def test_values_of_the_constructor_that_are_too_large(
    project: Project, limit: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "        self.up = nn.Linear(width, inner, bias=False)"
    project.model(line, f"{line}\n        self.up.weight.data.copy_(torch.eye(inner, width))")
    monkeypatch.setattr(stored_values, limit, 100)
    (fault,) = project.faults()
    assert (fault.code, fault.file) == ("P503", "net.py")
    assert told in fault.words
    assert "torch.eye" in fault.line


def test_a_buffer_of_random_numbers_that_is_too_large(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one has the values of the constructor, which are stored."""
    line = "        self.up = nn.Linear(width, inner, bias=False)"
    project.model(line, f"{line}\n        self.register_buffer('noise', torch.randn(3))")
    monkeypatch.setattr(stored_values, "MOST_STORED", 10)
    (fault,) = project.faults()
    assert (fault.code, fault.file) == ("P503", "net.py")
    assert "layers.0.feed.noise" in fault.words
    assert "is drawn at random" in fault.words
    assert "torch.randn(3)" in fault.line


@pytest.mark.parametrize("layers", [1, 3])
def test_other_layers_than_the_model_has(project: Project, layers: int) -> None:
    (fault,) = project.says("shape { layers = 2", f"shape {{ layers = {layers}").faults()
    assert (fault.code, fault.file) == ("P504", "plan.parc")
    assert fault.line.startswith(f"shape {{ layers = {layers}")
    assert "has 2 layers" in fault.words


@pytest.mark.parametrize(("stated", "told"), [("experts = 8", "has 4"), ("vocab = 64", "has 32")])
def test_other_sizes_than_the_model_has(project: Project, stated: str, told: str) -> None:
    """`ranks.csv` and the checks believe `shape`: building compares it with the model."""
    key = stated.split(maxsplit=1)[0]
    (fault,) = project.says({"experts": "experts = 4", "vocab": "vocab = 32"}[key], stated).faults()
    assert (fault.code, fault.file) == ("P504", "plan.parc")
    assert stated in fault.line
    assert told in fault.words


# Its forward


@pytest.mark.parametrize(
    "line",
    [
        "x = x + self.feed(x).view(3, 5)",
        'raise RuntimeError("not today")',
        UNPRINTABLE,
        "x = x + self.nothing(x)",
    ],
)
def test_a_model_that_does_not_run_on_its_own(project: Project, line: str) -> None:
    (fault,) = project.model(FEED, f"        {line}").faults()
    assert (fault.code, fault.file, fault.line) == ("P505", "net.py", line)


@pytest.mark.parametrize(
    "line",
    [
        "x = x + self.feed(x) if x.sum() > 0 else x",
        "x = x + self.feed(x) * x.sum().item()",
        "x = x + torch.nonzero(x).sum()",
    ],
)
def test_control_flow_that_depends_on_the_data(project: Project, line: str) -> None:
    (fault,) = project.model(FEED, f"        {line}").faults()
    assert (fault.code, fault.file, fault.line) == ("P505", "net.py", line)


@pytest.mark.parametrize(
    "line",
    [
        "hidden = F.dropout(F.relu(self.up(x)), 0.1, self.training)",
        "hidden = nn.Dropout(0.1)(F.relu(self.up(x)))",
        "hidden = F.relu(self.up(x)) + torch.randn_like(self.up(x))",
        "hidden = F.relu(self.up(x)) * torch.rand(12, device=x.device)",
        "hidden = F.relu(self.up(x)) * torch.bernoulli(torch.full((12,), 0.5, device=x.device))",
    ],
)
def test_random_numbers_in_forward_are_refused_in_words(project: Project, line: str) -> None:
    (fault,) = project.model(UP, f"        {line}").faults()
    assert (fault.code, fault.file, fault.line) == ("P505", "net.py", line)
    assert "random" in fault.words


def test_dropout_inside_attention_is_refused(project: Project) -> None:
    project.model("q, k, v, is_causal=True", "q, k, v, dropout_p=0.1, is_causal=True")
    (fault,) = project.faults()
    assert (fault.code, fault.file) == ("P505", "net.py")
    assert "dropout_p=0.1" in fault.line


def test_dropout_that_drops_nothing_is_none(project: Project) -> None:
    project.model(UP, "        hidden = F.dropout(F.relu(self.up(x)), 0.0, self.training)")
    assert project.build() == ()


@pytest.mark.parametrize("change", ["self.seen += 1", "self.seen.add_(x.mean())", "self.seen[0] = 1"])
def test_a_buffer_that_forward_changes(project: Project, change: str) -> None:
    line = "        self.down = nn.Linear(inner, width, bias=False)"
    project.model(line, f"{line}\n        self.register_buffer('seen', torch.zeros(3))")
    (fault,) = project.model(UP, f"{UP}\n        {change}").faults()
    assert fault.code == "P505"
    assert "buffer" in fault.words
    assert "seen" in fault.words
    assert 'source = "net.py:Net"' in fault.lines


def test_statistics_that_forward_keeps(project: Project) -> None:
    line = "        self.down = nn.Linear(inner, width, bias=False)"
    project.model(line, f"{line}\n        self.norm = nn.BatchNorm1d(inner)")
    project.model(UP, "        hidden = self.norm(self.up(x).flatten(0, 1)).view(4, 8, -1)")
    (fault,) = project.faults()
    assert fault.code == "P505"
    assert "forward changes the buffer" in fault.words


@pytest.mark.parametrize("returned", ["self.head(x), x", "None", "{'logits': self.head(x)}", "x.sum(0)"])
def test_outputs_that_are_no_logits_and_no_loss(project: Project, returned: str) -> None:
    (fault,) = project.model("        return self.head(x)", f"        return {returned}").faults()
    assert fault.code == "P505"
    assert "forward" in fault.words
    assert "logits" in fault.words


# Its experts


def test_experts_whose_arithmetic_depends_on_the_data(project: Project) -> None:
    line = "            hidden = F.relu(F.linear(tokens[row], self.up[expert]))"
    guilty = "hidden = hidden if hidden.sum() > 0 else -hidden"
    project.layout, project.devices = EXPERTS, 2
    (fault,) = project.model(line, f"{line}\n            {guilty}").faults()
    assert (fault.code, fault.file, fault.line) == ("P506", "net.py", guilty)
    assert fault.it.help


LISTED = """class Experts(nn.Module):
    def __init__(self, count, width, inner):
        super().__init__()
        self.each = nn.ModuleList([Feed(width, inner) for _ in range(count)])
        for number, expert in enumerate(self.each):
            nn.init.normal_(expert.up.weight, std=DEVIATION)

    def forward(self, tokens, indices, weights):
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.each):
            row, choice = torch.where(indices == number)
            out.index_add_(0, row, expert(tokens[row]) * weights[row, choice, None])
        return out


"""


def test_experts_of_a_list_that_begin_differently_have_stored_values(project: Project) -> None:
    """They are emitted as one tensor, which has one initial value in the table."""
    begin, end = (project.net.index(f"class {name}(") for name in ("Experts", "Layer"))
    listed = project.net[:begin] + LISTED + project.net[end:]
    stored = project.out / "initial_values.safetensors"
    project.net = listed.replace("DEVIATION", "0.1")
    assert project.build() == ()
    assert not stored.exists()
    project.net = listed.replace("DEVIATION", "0.1 * (number + 1)")
    assert project.build() == ()
    assert b"layers.1.experts.each.3.up.weight" in stored.read_bytes()


def test_experts_that_look_at_each_others_tokens(project: Project) -> None:
    guilty = "hidden = F.relu(F.linear(tokens[row] - tokens[row].mean(0), self.up[expert]))"
    project.layout, project.devices = EXPERTS, 2
    project.model("hidden = F.relu(F.linear(tokens[row], self.up[expert]))", guilty)
    (fault,) = project.faults()
    assert (fault.code, fault.file, fault.line) == ("P506", "net.py", guilty)
    assert fault.it.help
    assert "layers.0.experts" in fault.words


@pytest.mark.parametrize(
    "odd",
    [
        "expert == 0",
        "expert == 1",
        "expert == 3",
    ],
)
def test_experts_that_compute_different_things(project: Project, odd: str) -> None:
    project.layout, project.devices = EXPERTS, 2
    project.model(
        "hidden = F.relu(F.linear(tokens[row], self.up[expert]))",
        f"hidden = (F.silu if {odd} else F.relu)(F.linear(tokens[row], self.up[expert]))",
    )
    (fault,) = project.faults()
    assert fault.code == "P506"
    assert "different" in fault.words


# What an axis cannot cut


def test_too_few_heads_of_keys_and_values(project: Project) -> None:
    project.layout, project.devices = "mesh = [tp: 4], tensor over [tp]", 4
    (fault, *_) = project.faults()
    assert (fault.code, fault.file) == ("P204", "plan.parc")
    assert "2 kv_heads" in fault.words


def test_too_few_heads_where_the_plan_does_not_say_how_many(project: Project) -> None:
    project.layout, project.devices = "mesh = [tp: 4], tensor over [tp]", 4
    project.says("heads = 4, kv_heads = 2, ", "")
    faults = project.faults()
    assert {fault.code for fault in faults} <= {"P507", "P508"}
    assert all(fault.file == "net.py" for fault in faults)
    assert any("`tp`" in fault.words for fault in faults)


def test_a_width_that_the_ranks_cannot_share(project: Project) -> None:
    project.layout, project.devices = TENSOR, 2
    project.model("kv_heads=2, inner=12", "kv_heads=2, inner=13").says("ffn = 12, ", "")
    faults = project.faults()
    assert {fault.code for fault in faults} <= {"P507", "P508"}
    assert "13" in faults[0].words
    assert faults[0].file == "net.py"
    assert TENSOR in faults[0].lines


def test_a_softmax_over_what_is_cut(project: Project) -> None:
    guilty = "hidden = self.up(x).softmax(-1)"
    project.layout, project.devices = TENSOR, 2
    fault = project.model(UP, f"        {guilty}").faults()[0]
    assert (fault.code, fault.file, fault.line) == ("P508", "net.py", guilty)
    assert "softmax" in fault.words
    assert 'replicate = ["layers.*.feed.up.weight"]' in fault.words  # the cure
    assert TENSOR in fault.lines


def test_the_cure_that_is_told_for_it_builds(project: Project) -> None:
    project.layout, project.devices = (
        'mesh = [tp: 2], tensor over [tp] { replicate = ["layers.*.feed.*.weight"] }',
        2,
    )
    warnings = project.model(UP, "        hidden = self.up(x).softmax(-1)").build()
    assert [each.code for each in warnings] == ["P314"]  # each rank then computes the same experts


@pytest.mark.parametrize(
    "line",
    [
        "hidden = F.relu(self.up(x)).cumsum(0)",
        "hidden = F.relu(self.up(x)).softmax(0)",
        "hidden = F.relu(self.up(x)).sort(0).values",
        "hidden = F.relu(self.up(x)).roll(1, 0)",
        "hidden = F.relu(self.up(x)).flip(0)",
        "hidden = F.relu(self.up(x)) + self.up(x)[0]",
        "hidden = F.relu(self.up(x)) / self.up(x).amax()",
    ],
)
def test_an_operation_across_the_sequences_of_a_batch(project: Project, line: str) -> None:
    """A data axis holds other sequences on every rank: what reads across them has no rule."""
    project.layout, project.devices = DATA, 2
    (fault,) = project.model(UP, f"        {line}").faults()
    assert (fault.code, fault.file, fault.line) == ("P507", "net.py", line)
    assert "`dp`" in fault.words
    assert fault.it.help
    assert DATA in fault.lines


def test_parameters_that_two_stages_would_share(project: Project) -> None:
    line = "        self.head = nn.Linear(width, vocab, bias=False)"
    project.layout, project.devices = ALL, 4
    project.model(line, f"{line}\n        self.head.weight = self.embedding.weight")
    (fault,) = project.faults()
    assert (fault.code, fault.file) == ("P509", "plan.parc")
    assert "embedding.weight" in fault.words
