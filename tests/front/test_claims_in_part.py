"""Claims about figures that are not wholly known: of a batch that cannot be divided, of a peak without its
activations."""

from __future__ import annotations

import pytest

from tests.front.plans import SEED, load
from tests.front.test_claims import value, verdict


@pytest.mark.parametrize(
    ("claim", "grade", "rests"),
    [
        ("flops.device < 1 FLOP", "expected", True),  # half a sequence a microbatch
        ("tensor.call.buffer < 1 B", "expected", True),
        ("mfu >= 90%", "estimated", True),
        ("parameters.device < 1", "exact", False),
        ("memory.gradients < 1 B", "exact", False),
        ("data.buffers < 1 B", "exact", False),  # of gradients
        ("bubble < 1%", "exact", False),  # of as many microbatches as there are
        ("experts.nodes == 2", "exact", False),
    ],
)
def test_what_rests_on_a_batch_that_cannot_be_divided_is_of_a_mean_and_says_so(
    claim: str, grade: str, rests: bool
) -> None:
    text = SEED.replace("sequences = 256", "sequences = 128")
    found = verdict(claim, text)
    assert found.figure is not None
    assert found.figure.grade == grade
    assert bool(found.mean) is rests
    (told,) = (
        each for each in load(text.replace("devices == 128", claim)).diagnostics if each.code == "P306"
    )
    assert any(note.startswith("on average, because 128 sequences") for note in told.notes) is rests


def test_parts_that_the_batch_has_no_part_in_stay_exact() -> None:
    found = verdict("mfu >= 90%", SEED.replace("sequences = 256", "sequences = 128")).figure
    assert found is not None
    assert [part.grade for part in found.parts] == ["expected", "estimated"]
    found = verdict("memory.peak < 1", SEED.replace("sequences = 256", "sequences = 128")).figure
    assert found is not None
    assert {part.name: part.grade for part in found.parts}["optimizer"] == "exact"


# More passes than are simulated: 512 stages of 2 layers.
LONG = (
    SEED.replace("fabric: 8", "fabric: 1024")
    .replace("pp: 4", "pp: 512")
    .replace("layers = 16,", "layers = 1024,")
    .replace(", layers = [4, 4, 4, 4]", "")
    .replace("sequences = 256", "sequences = 8192")
    .replace("microbatches = 32", "microbatches = 1024")
)


@pytest.mark.parametrize(
    ("relation", "share", "holds"),
    [("<", 0.99, False), ("==", 0.99, False), (">", 0.99, True), ("!=", 0.99, True), ("<", 1.01, None)],
)
def test_a_peak_that_is_not_known_is_judged_where_the_states_alone_settle_it(
    relation: str, share: float, holds: bool | None
) -> None:
    kinds = ("parameters", "gradients", "optimizer")
    states = sum(value(f"memory.stage_511.{kind}", LONG) for kind in kinds)
    for subject in ("memory.peak", "memory.stage_511.peak"):
        found = verdict(f"{subject} {relation} {share * states:.0f} B", LONG)
        assert found.holds is holds
        assert found.figure is None or found.figure.value == pytest.approx(states)


def test_a_peak_refuted_by_the_states_has_their_arithmetic() -> None:
    (found,) = load(LONG.replace("devices == 128", "memory.peak < 100 MB")).diagnostics
    assert found.code == "P306"
    assert found.message.startswith("`memory.peak` is at least ")
    assert found.notes[0].startswith("parameters, gradients and optimizer of stage 511 ")
    assert any(note.startswith("  optimizer ") for note in found.notes)
    assert found.notes[-1] == "activations are not included, because they are not known"
    assert [each.code for each in load(LONG.replace("devices == 128", "memory.peak < 1 GB")).diagnostics] == [
        "P307"
    ]
