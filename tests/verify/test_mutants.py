"""The ladder notices the bugs that others have had, and raises no alarm where there is none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mutants as benchmark
import pytest

from parc.verify.mutants.mutant import BUGS, Bug, Mutant
from parc.verify.mutants.outcome import Outcome, table
from parc.verify.mutants.rung import injected, mutants
from parc.verify.mutants.runner import Caught, Judge, Notice
from parc.verify.mutants.target import Subject
from parc.verify.report import NotProvable
from parc.verify.sample.compile import Trial, trial
from parc.verify.sample.tokens import Tokens

from .plans import VOCABULARY, captured, loaded

EXPERTS = (
    2,
    """
    mesh = [ep: 2]
    data over [ep]
    experts over [ep]
    """,
)
EVERYTHING = (
    8,
    """
    mesh = [ep: 2, pp: 2, tp: 2]
    data over [ep]
    tensor over [tp] { sequence = true }
    experts over [ep] { tensor = [tp] }
    pipeline over [pp] { layers = [1, 2] }
    """,
)


def made(model: str, layout: tuple[int, str]) -> Trial:
    return trial(loaded(model, *layout).plans[0], "fp64", captured(model))


@pytest.fixture(scope="module")
def small() -> Trial:
    return made("moe", EXPERTS)


@pytest.fixture(scope="module")
def low() -> Trial:
    return trial(loaded("moe", *EXPERTS).plans[0], "fp32")


@pytest.fixture(scope="module")
def judge(small: Trial, low: Trial, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    scratch = tmp_path_factory.mktemp("judge")
    return Judge(small, low, Tokens(VOCABULARY), scratch, timeout=60)


def judged(judge: Judge, bug: str, site: str) -> Caught | None:
    """What becomes of the one mutant of a class whose site has these words."""
    found = [
        next(each for each in injected(Subject(of))[bug] if site in each.site)
        for of in (judge.trial, judge.low)
        if of is not None
    ]
    return judge.judged(found[0].files, found[1].files)


def test_a_right_program_raises_no_alarm(judge: Judge) -> None:
    assert judge.own() is None


@pytest.mark.parametrize(
    ("bug", "site", "rung", "how"),  # all by a difference
    [
        ("mean of each rank alone", "means of ranks summed", "matching", "an operation is left out"),
        ("router gradient not summed", "Router", "matching", "another operation is issued"),
        ("one microbatch's gradient kept", "only the last", "numbers", "gradient of"),
        ("rows in another order", "put back", "numbers", "gradient of"),
        ("norm of one rank's shards", "along `ep`", "matching", "an operation is left out"),
        ("fused product off by a row or an expert", "a row late", "fp32", "rounding allows"),
        ("position in the data lost", "first batch", "numbers", "in step"),
        ("number of the step lost", "the batch", "numbers", "in step"),
        ("number of the step lost", "learning rate", "numbers", "in step"),
    ],
)
def test_the_cheapest_rung_that_can_see_a_bug_notices_it(
    judge: Judge, bug: str, site: str, rung: str, how: str
) -> None:
    found = judged(judge, bug, site)
    assert found is not None
    assert (found.rung, found.notice.by) == (rung, "difference")
    assert how in found.notice.how


def test_data_ranks_may_trade_their_slices(judge: Judge) -> None:
    """Of the class of ranks fed the wrong data, the one that is no bug. Low precision would see other tokens
    than those whose routing is replayed."""
    its = injected(Subject(judge.trial))["ranks fed the wrong data"]
    (traded,) = (each for each in its if "trade" in each.site)
    assert traded.same
    assert judge.computed({**judge.trial.files, **traded.files}, 3) is None


def test_a_mutant_that_hangs_is_caught_by_the_clock(judge: Judge, tmp_path: Path) -> None:
    files = dict(judge.trial.files)
    step = b"        start = time.perf_counter()\n"
    gradients = b"        ids = self.batches.step("
    assert files["runtime/training.py"].count(gradients) == 1
    wait = b"        if dist.get_rank() == 1:\n            time.sleep(600)\n"
    files["runtime/training.py"] = files["runtime/training.py"].replace(gradients, wait + gradients)
    assert step in files["runtime/training.py"]
    impatient = Judge(judge.trial, None, Tokens(VOCABULARY), tmp_path, timeout=0)
    impatient.limit = 6
    found = impatient.computed(files, 1)
    assert found is not None
    assert found.by == "time-out"
    assert found.how.startswith("hangs")


@pytest.mark.parametrize(
    ("edit", "rung", "how"),
    [
        ("total.square_root()", "matching", "AttributeError"),
        ("total.sqrt() if total.is_meta else total.square_root()", "numbers", "AttributeError"),
        ("sys.exit()", "matching", "exit status 0, as if all were well"),
    ],
)
def test_a_mutant_that_crashes_is_not_taken_for_one_that_differs(
    edit: str, rung: str, how: str, judge: Judge
) -> None:
    text = judge.trial.files["runtime/gradients.py"].decode()
    assert text.count("return total.sqrt()") == 1
    crashing = text.replace("return total.sqrt()", f"import sys\n    return {edit}").encode()
    found = judge.judged({"runtime/gradients.py": crashing}, {})
    assert found is not None
    assert (found.rung, found.notice.by) == (rung, "crash")
    assert how in found.notice.how


def test_where_one_rank_crashes_and_another_differs_the_difference_tells_more(judge: Judge) -> None:
    """Rank 0 leaves a sum out, rank 1 crashes where it would have made it."""
    text = judge.trial.files["runtime/collectives.py"].decode()
    summed = "    dist.all_reduce(total, group=group)\n"
    assert text.count(summed) == 1
    edit = text.replace(summed, "    if dist.get_rank() == 1:\n        total.no_such_method()\n")
    found = judge.judged({"runtime/collectives.py": edit.encode()}, {})
    assert found is not None
    assert (found.rung, found.notice.by) == ("matching", "difference")
    assert "on rank 0" in found.notice.how


@pytest.mark.parametrize("model", ["moe", "classic"])
def test_every_mutant_is_another_program_that_parses(model: str) -> None:
    subject = Subject(made(model, EVERYTHING))
    found = [mutant for its in injected(subject).values() for mutant in its]
    assert len(found) > 100
    for mutant in found:
        for name, text in mutant.files.items():
            assert subject.trial.files[name] != text, mutant.site
            ast.parse(text)


def test_twelve_classes_and_more_apply_to_a_plan() -> None:
    for model in ("moe", "classic"):
        found = injected(Subject(made(model, EVERYTHING)))
        assert sum(any(not mutant.same for mutant in its) for its in found.values()) >= 25


def test_every_class_says_where_it_applies() -> None:
    for bug in BUGS.values():
        assert "Applies" in bug.page, bug.name


def test_the_table_adds_up() -> None:
    right, wrong = Mutant("here", {}), Mutant("there", {}, same="one rank along `ep`")
    found = [
        Outcome("one", right, Caught("matching", Notice("difference", ""))),
        Outcome("one", right, Caught("numbers", Notice("crash", ""))),
        Outcome("one", right, Caught("numbers", Notice("time-out", ""))),
        Outcome("two", right, None),
        Outcome("two", wrong, None),
        Outcome("two", Mutant("nowhere", {}, untold="no expert is idle"), None),
    ]
    assert list(table(found)) == [
        "class  mutants  matching  numbers  fp32  difference  crash  time-out  survived  the same",
        "one        3         1        2                 1      1         1",
        "two        1                                                               1         1",
        "all        4         1        2                 1      1         1         1         1",
    ]


def test_twins_are_one_mutant() -> None:
    """Two axes of one size: an edit that divides by the size of either is the same."""
    found = injected(Subject(made("moe", EVERYTHING)))["balance loss wrongly scaled or not attached"]
    (twins,) = (each for each in found if "the size of" in each.site)
    assert "`ep`; the same edit: train.py: its weight times the size of `tp`" in twins.site


def test_a_mutant_that_nothing_notices_refutes(small: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def unseen(subject: Subject) -> Iterator[Mutant]:
        comment = b"# a bug that no rung can see\n"
        yield Mutant("train.py", {"train.py": subject.trial.files["train.py"] + comment})

    for name in list(BUGS):
        monkeypatch.delitem(BUGS, name)
    monkeypatch.setitem(BUGS, "unseen", Bug("unseen", unseen))
    told: list[str] = []
    rung = mutants(small, None, Tokens(VOCABULARY), progress=told.append)
    assert rung.verdict == "refuted"
    assert [finding.message for finding in rung.findings] == ["not noticed: unseen, train.py"]
    assert told == ["1 of 1 mutants: unseen, train.py: NOT NOTICED"]


def test_a_wrong_program_is_no_subject(small: Trial) -> None:
    broken = next(
        each for each in injected(Subject(small))["scaled by microbatches"] if "divided" in each.site
    )
    wrong = replace(small, files={**small.files, **broken.files})
    with pytest.raises(NotProvable, match="numbers, by difference: gradient of"):
        mutants(wrong, None, Tokens(VOCABULARY), progress=print)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "name", ["all_axes", "experts_with_data", "one_expert_a_rank", "an_axis_of_one", "one_microbatch"]
)
def test_what_is_said_to_compute_the_same_does(name: str, tmp_path: Path) -> None:
    subjects = benchmark.trials(name)
    judge = Judge(subjects[0], None, benchmark.tokens(), tmp_path, timeout=300)
    its = [each for its in injected(Subject(subjects[0])).values() for each in its if each.same]
    by_reason = {(mutant.same, mutant.site.partition(":")[0]): mutant for mutant in its}
    assert by_reason
    for mutant in by_reason.values():
        assert judge.computed({**subjects[0].files, **mutant.files}, 3) is None, mutant


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["experts_on_tensor", "stages", "an_axis_of_one"])
def test_every_mutant_of_a_few_plans_is_noticed(name: str) -> None:
    rung = mutants(*benchmark.trials(name), benchmark.tokens(), progress=print)
    assert rung.verdict == "proved", rung.findings
