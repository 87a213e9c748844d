"""Texts that nobody meant: whatever comes in, what comes out is diagnostics, and soon."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parc.check.load import load_text
from parc.plan.placement import locate_experts, locate_layers, locate_sequences
from parc.render.text import render
from parc.source import Source
from tests.front.plans import SEED, complete
from tests.timing import measure_slowness

SLOWEST = 1.0  # seconds for one text; the usual one takes a few milliseconds
TRIES = 4  # the least of them counts: what else runs on the machine only adds to it


def check_survival(text: str) -> int:
    """Check a text; the number of its diagnostics. Every label must lie in its text, and be shown."""
    for _ in range(TRIES):
        begun = time.process_time()
        loaded = load_text(Source("plan.parc", text))
        seconds = time.process_time() - begun
        if seconds < SLOWEST or seconds < (limit := SLOWEST * measure_slowness()):
            break
    else:
        assert seconds < limit
    for diagnostic in loaded.diagnostics:
        for label in diagnostic.labels:
            assert 0 <= label.span.start <= label.span.end <= len(label.span.source.text)
    render(loaded.diagnostics)
    return len(loaded.diagnostics)


SMALL = complete(
    "plan wide for first on farm {\n mesh = [dp: 2, pp: 2]\n data over [dp]\n pipeline over [pp]\n}"
)
WORDS = (
    SEED.split()
    + list("{}[]()=,:.+-*/<>\"'#%\n\\;@")
    + ["let", "import", "over", "for", "on", "1e9", "-1", "0", "\n", "\n"]
)


def draw_words(seed: int) -> str:
    choose = random.Random(seed)
    return " ".join(choose.choice(WORDS) for _ in range(choose.randrange(80)))


def mutate_plan(seed: int) -> str:
    """A right plan with a few characters or words changed, left out, or said twice."""
    choose = random.Random(seed)
    text = SEED if seed % 5 == 0 else SMALL
    for _ in range(choose.randint(1, 6)):
        at = choose.randrange(len(text))
        length = choose.choice([0, 1, 1, 3, 20])
        instead = choose.choice(
            ["", choose.choice(WORDS), text[at : at + length] * 2, chr(choose.randrange(1, 0x3000))]
        )
        text = text[:at] + instead + text[at + length :]
    return text


def change_numbers(seed: int) -> str:
    """A right plan with other sizes: mostly faulty, always understood."""
    choose = random.Random(seed)
    words = split_words(SEED if seed % 5 == 0 else SMALL)
    numbers = [0, 1, 2, 3, 5, 7, 8, 16, 64, 127, 2**20, 2**30, 2**53, 10**18, 10**40]
    return " ".join(
        str(choose.choice(numbers)) if word.isdigit() and choose.random() < 0.3 else word for word in words
    )


def split_words(text: str) -> list[str]:
    for sign in "[],{}=":
        text = text.replace(sign, f" {sign} ")
    return [word for line in text.splitlines() for word in (*line.partition("#")[0].split(" "), "\n")]


def drop_lines(seed: int) -> str:
    choose = random.Random(seed)
    lines = [line for line in (SEED + SMALL).splitlines() if choose.random() < 0.6]
    if seed % 3 == 0:
        choose.shuffle(lines)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("make", "count"), [(draw_words, 1000), (mutate_plan, 400), (change_numbers, 300), (drop_lines, 200)]
)
def test_thousands_of_generated_texts(make: Callable[[int], str], count: int) -> None:
    faulty = sum(check_survival(make(seed)) > 0 for seed in range(count))
    assert faulty > count / 2  # they are indeed hostile


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_any_text(text: str) -> None:
    check_survival(text)


@settings(max_examples=200)
@given(st.text(alphabet='{}[]()=,:.ab1"#\n +-*/<', max_size=60))
def test_any_text_of_signs(text: str) -> None:
    check_survival(text)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        "[" * 100_000,
        "}" * 100_000,
        "a{" * 50_000,
        "let x = " + "(" * 50_000 + "1" + ")" * 50_000,
        "let x = " + "-" * 100_000 + "1",
        "let x = 1" + "+1" * 40_000,
        "let x = 1" + "*2" * 20_000,
        "let x = [" + "1," * 20_000 + "]",
        "let x = " + "9" * 200_000,
        "let x = 1" + "_1" * 100_000,
        "let x = 1" + "trainlayer" * 20_000,
        "let x = 0." + "0" * 100_000 + "1",
        'let x = "' + "a" * 200_000,
        'let x = "' + "\\" * 200_000 + '"',
        "#" * 250_000,
        "\n" * 250_000,
        " " * 250_000 + "x",
        "\n \t" * 80_000 + "]",
        "," * 100_000,
        "'" * 100_000,
        "a " * 20_000,
        "a.a" + ".a" * 20_000 + " = 1",
        "a = 1\n" * 12_000,
        "let a = 1\n" * 10_000,
        "= 1\n" * 15_000,
        "a { \n" * 10_000,
        "a over [b]\n" * 9_000,
        "plan a for b on c { }\n" * 6_000,
        "\0" * 100_000,
        "\ud7ff\u202e\u2028 = \U0001f600" * 10_000,
        "let x = 1e308 * 1e308 - 1e308 * 1e308",
        "let x = 10000000000000000000 ** 3",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_bombs(text: str) -> None:
    check_survival(text)


@pytest.mark.parametrize("size", [2**20, 2**30, 2**31, 2**53, 2**64])
def test_sizes_beyond_all_machines_are_not_enumerated(size: int) -> None:
    for strategy in ("data over [x]", "pipeline over [x]", "tensor over [x]", "experts over [x]"):
        check_survival(complete(f"plan wide for first on farm {{\n mesh = [x: {size}]\n {strategy}\n}}"))


@pytest.mark.parametrize("layers", [2**20, 2**40, 2**53])
def test_layers_without_end_are_not_enumerated(layers: int) -> None:
    model = f'model moe {{ source = "moe.py:M", shape {{ layers = {layers} }} }}'
    check_survival(
        complete(
            f"{model}\nplan wide for first on farm {{\n mesh = [x: 2 * 2 * 1048576]\n pipeline over [x]\n}}"
        )
    )


@pytest.mark.parametrize("layers", [1, 1024, 2**20, 2**30])
@pytest.mark.parametrize("size", [2**20, 2**30])
def test_stages_without_end_are_not_enumerated(size: int, layers: int) -> None:
    model = f'model moe {{ source = "moe.py:M", shape {{ layers = {layers}, hidden = 8, heads = 2 }} }}'
    body = f"mesh = [x: {size}]\n pipeline over [x]\n expect {{ devices == 3, memory.peak < 1% }}"
    text = complete(f"{model}\nplan wide for first on farm {{\n {body}\n}}")
    assert check_survival(text)
    listed = "P005" not in {each.code for each in load_text(Source("plan.parc", text)).diagnostics}
    assert listed == (size == 2**20 or layers < size)  # with too few layers that is what is told


def test_a_cluster_that_millions_of_stages_would_fill() -> None:
    text = SEED.replace("fabric: 8", "fabric: 67108864").replace("layers = 16", f"layers = {2**30}")
    text = text.replace("ep: 8, pp: 4, tp: 4", "ep: 1, pp: 4, tp: 1")
    assert check_survival(text.replace(", layers = [4, 4, 4, 4]", ""))


def test_two_thousand_lines_take_less_than_a_second() -> None:
    lines = SEED.splitlines()
    blocks = [
        "\n".join(lines)
        .replace("farm", f"farm{i}")
        .replace("moe ", f"moe{i} ")
        .replace("= moe,", f"= moe{i},")
        .replace("first", f"first{i}")
        .replace("wide", f"wide{i}")
        for i in range(2000 // len(lines))
    ]
    text = "\n".join(blocks)
    assert text.count("\n") > 1900
    assert check_survival(text) == 0


@given(
    ep=st.sampled_from([1, 2, 4, 8]),
    pp=st.integers(1, 16),
    tp=st.sampled_from([1, 2, 4, 8]),
    order=st.permutations(["ep", "pp", "tp"]),
    microbatches=st.sampled_from([16, 32]),
)
@settings(max_examples=40)
def test_a_legal_plan_places_everything_exactly_once(
    ep: int, pp: int, tp: int, order: list[str], microbatches: int
) -> None:
    """Every expert has one home in each replica, every layer one stage, every sequence one data rank."""
    sizes = {"ep": ep, "pp": pp, "tp": tp}
    mesh = ", ".join(f"{name}: {sizes[name]}" for name in order)
    text = complete(f"""
    train first {{ model = moe, batch {{ sequences = 256, length = 64, microbatches = {microbatches} }} }}
    plan wide for first on farm {{
      mesh = [{mesh}]
      data over [ep], tensor over [tp], experts over [ep], pipeline over [pp]
    }}""")
    loaded = load_text(Source("plan.parc", text))
    assert loaded.ok
    (plan,) = loaded.plans
    for rank in range(0, plan.mesh.size, 7):
        homes = [expert for peer in plan.mesh.group(rank, ["ep"]) for expert in locate_experts(plan, peer)]
        assert sorted(homes) == list(range(8))
        stages = [
            layer
            for peer in plan.mesh.group(rank, ["pp"])
            for chunk in locate_layers(plan, peer)
            for layer in chunk
        ]
        assert stages == list(range(16))
        read = [
            sequence
            for microbatch in range(microbatches)
            for peer in plan.mesh.group(rank, ["ep"])
            for sequence in locate_sequences(plan, peer, microbatch)
        ]
        assert read == list(range(256))
        for peer in plan.mesh.group(rank, ["tp"]):  # tokens and experts are the same along tensor ranks
            assert (locate_experts(plan, peer), locate_sequences(plan, peer, 0)) == (
                locate_experts(plan, rank),
                locate_sequences(plan, rank, 0),
            )
