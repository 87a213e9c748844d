"""The rungs detect the bugs that other frameworks have had, and raise no false alarm."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mutants as benchmark
import pytest

from parc.check.load import choose, load
from parc.emit.write import write
from parc.plan.blocks import Plan
from parc.verify.mutants.outcome import Outcome, format_table
from parc.verify.mutants.registry import BUGS
from parc.verify.mutants.rung import inject_bugs, prove_mutants, run_mutants
from parc.verify.mutants.runner import Detection, MutantRunner
from parc.verify.mutants.target import Mutant, MutationTarget
from parc.verify.numbers.compare import FUNCTION, compare_program, save_reference
from parc.verify.report import NotProvable
from parc.verify.sample.choose import choose_sample
from parc.verify.sample.sample import Sample, SampleRun, compile_sample
from parc.verify.sample.tokens import Tokens, choose_tokens

from .plans import VOCABULARY, captured, find_plan, loaded

RUN_PLANS = Path(__file__).parents[1] / "plans" / "run"
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


def compiled(model: str, layout: tuple[int, str]) -> Sample:
    return compile_sample(loaded(model, *layout).plans[0], "fp64", captured(model))


@pytest.fixture(scope="module")
def small() -> Sample:
    return compiled("moe", EXPERTS)


@pytest.fixture(scope="module")
def low() -> Sample:
    return compile_sample(loaded("moe", *EXPERTS).plans[0], "fp32")


@pytest.fixture(scope="module")
def runner(small: Sample, low: Sample, tmp_path_factory: pytest.TempPathFactory) -> MutantRunner:
    scratch = tmp_path_factory.mktemp("runner")
    return MutantRunner(small, low, Tokens(VOCABULARY), scratch, timeout=60)


def detect(runner: MutantRunner, bug: str, site: str) -> Detection | None:
    """What detects the one mutant of a class whose site has these words."""
    edits, low_edits = (
        next(each.files for each in inject_bugs(MutationTarget(sample))[bug] if site in each.site)
        for sample in (runner.sample, runner.low)
        if sample is not None
    )
    return runner.detect(edits, low_edits)


def test_a_right_program_raises_no_alarm(runner: MutantRunner) -> None:
    assert runner.check_original() is None


@pytest.mark.parametrize(
    ("bug", "site", "rung", "message"),  # all by a difference
    [
        ("mean of each rank alone", "means of ranks summed", "matching", "an operation is missing"),
        ("router gradient not summed", "router", "matching", "another operation is issued"),
        ("one microbatch's gradient kept", "only the last", "numbers", "gradient of"),
        ("rows in another order", "put back", "numbers", "gradient of"),
        ("norm of one rank's shards", "along `ep`", "matching", "an operation is missing"),
        ("fused product off by a row or an expert", "a row late", "fp32", "rounding allows"),
        ("position in the data lost", "first batch", "numbers", "the batch of step 1 has other tokens"),
        ("number of the step lost", "the batch", "numbers", "step 1 reads the batch of step 0"),
        ("number of the step lost", "learning rate", "numbers", "in step"),
        ("loop off by a step", "takes step 0 twice", "numbers", "takes the steps"),
        ("data wrong later in the run", "the fourth step", "numbers", "step 4 reads the batch of step 3"),
        ("rows beyond a cap dropped", "more than 4,096", "numbers", "4500 rows for one expert"),
        ("figure counted again", "never cleared", "numbers", "are not cleared"),
    ],
)
def test_the_cheapest_rung_that_can_detect_a_bug_does(
    runner: MutantRunner, bug: str, site: str, rung: str, message: str
) -> None:
    found = detect(runner, bug, site)
    assert found is not None
    assert (found.rung, found.means) == (rung, "difference")
    assert message in found.message


@pytest.fixture(scope="module")
def recomputing(tmp_path_factory: pytest.TempPathFactory) -> MutantRunner:
    ranks, layout = EXPERTS
    sample = compiled("moe", (ranks, f"{layout}\n    recompute = layer\n"))
    return MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path_factory.mktemp("recomputing"), timeout=60)


@pytest.mark.parametrize(
    ("bug", "site", "rung", "message"),
    [
        ("collective issued again by recompute", "_exchange_rows", "matching", "another operation is issued"),
        ("collective issued again by recompute", "_sum_terms", "matching", "another operation is issued"),
        ("recompute that routes anew", "choices", "numbers", "a second pass goes where call 1 did not"),
        ("kept results of another call", "one list", "numbers", "does not come to the end"),
        ("tokens counted again by recompute", "every pass", "numbers", "counts 192 rows of a step"),
    ],
)
def test_a_second_pass_that_does_more_than_arithmetic_is_detected(
    recomputing: MutantRunner, bug: str, site: str, rung: str, message: str
) -> None:
    its = inject_bugs(MutationTarget(recomputing.sample))[bug]
    found = recomputing.detect(next(each.files for each in its if site in each.site), {})
    assert found is not None
    assert (found.rung, message in found.message) == (rung, True), found


@pytest.mark.slow
def test_layers_that_keep_one_microbatchs_gradient_are_detected(tmp_path: Path) -> None:
    sample = compiled("moe", (2, "mesh = [dp: 2]\n    data over [dp] { shard = gradients }"))
    runner = MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path, timeout=60)
    (replaced,) = inject_bugs(MutationTarget(sample))["reduced gradients of one microbatch"]
    found = runner.detect(replaced.files, {})
    assert found is not None
    assert (found.rung, found.means, "gradient of layers" in found.message) == ("numbers", "difference", True)


@pytest.fixture(scope="module")
def gathering(tmp_path_factory: pytest.TempPathFactory) -> MutantRunner:
    layout = "mesh = [dp: 2]\n    data over [dp] { shard = parameters }\n    recompute = layer"
    sample = compiled("moe", (2, layout))
    return MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path_factory.mktemp("gathering"), timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "site", "rung", "means", "message"),
    [
        ("stale sharded parameters", "first pass", "numbers", "difference", "of layers"),
        ("gradients reduced too early", "begins", "matching", "crash", "gradient of embedding"),
        ("resharded too early", "used by others", "numbers", "difference", "gradient of layers"),
        ("resharded too early", "not gathered", "matching", "difference", "another operation"),
        ("resharded too early", "any forward pass", "numbers", "crash", ""),
        ("another rank's slice", "moved", "numbers", "difference", "gradient of layers"),
        ("gather in the wrong type", "sent in bfloat16", "matching", "difference", "another operation"),
        ("gather in the wrong type", "rounded", "numbers", "difference", "gradient of layers"),
    ],
)
def test_bugs_of_layers_that_are_gathered_are_detected(
    gathering: MutantRunner, bug: str, site: str, rung: str, means: str, message: str
) -> None:
    its = inject_bugs(MutationTarget(gathering.sample))[bug]
    found = gathering.detect(next(each.files for each in its if site in each.site), {})
    assert found is not None
    assert (found.rung, found.means, message in found.message) == (rung, means, True), found


@pytest.mark.slow
def test_replicas_of_shards_that_are_not_summed_are_detected(tmp_path: Path) -> None:
    layout = "mesh = [outer: 2, dp: 2]\n    data over [outer, dp] { shard = optimizer, shard_over = [dp] }"
    sample = compiled("moe", (4, layout))
    runner = MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path, timeout=60)
    (alone,) = inject_bugs(MutationTarget(sample))["replicas of shards not summed"]
    found = runner.detect(alone.files, {})
    assert found is not None
    assert (found.rung, found.means) == ("matching", "difference"), found


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> MutantRunner:
    layout = "mesh = [dp: 2, ep: 2]\n    data over [dp, ep] { shard = optimizer }\n    experts over [ep]"
    sample = compiled("moe", (4, layout))
    return MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path_factory.mktemp("sharing"), timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "site", "rung", "message"),
    [
        ("stale sharded parameters", "not gathered", "matching", "an operation is missing"),
        ("stale sharded parameters", "before the update", "numbers", ".weight differs by"),
        ("another rank's slice", "next slice", "numbers", "gradient of"),
        ("another rank's slice", "slices numbered", "numbers", ".weight differs by"),
        ("shared gradient scaled", "a mean", "numbers", "gradient of"),
        ("norm of unsummed gradients", "whole tensors", "numbers", "gradient norm differs"),
        ("norm of one rank's shards", "along `dp`", "matching", "an operation is missing"),
    ],
)
def test_bugs_of_updates_that_ranks_share_are_detected(
    sharing: MutantRunner, bug: str, site: str, rung: str, message: str
) -> None:
    its = inject_bugs(MutationTarget(sharing.sample))[bug]
    found = sharing.detect(next(each.files for each in its if site in each.site), {})
    assert found is not None
    assert (found.rung, found.means, message in found.message) == (rung, "difference", True), found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("type of the masters", "is kept in torch.float64, not torch.float32"),
        ("not kept", "is not what the update has computed"),
        ("rounded gradients", "is off by"),
        ("type of the moments", "differs by"),
    ],
)
def test_moments_of_another_type_that_are_wrong_are_detected(
    rounding: MutantRunner, site: str, message: str
) -> None:
    its = inject_bugs(rounding.describe_target())["moments of another type"]
    found = rounding.detect(next(each.files for each in its if site in each.site), {})
    assert found is not None
    assert (found.rung, found.means, message in found.message) == ("numbers", "difference", True), found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bug", "site", "message"),
    [
        ("idle expert updated", "gradient were zero", "specialists"),
        ("idle expert updated", "steps counted", "are not counted as they are made"),
        ("busy expert skipped", "tokens of each rank", "specialists"),
    ],
)
def test_a_wrong_choice_of_idle_experts_is_detected(
    skipping: MutantRunner, bug: str, site: str, message: str
) -> None:
    its = inject_bugs(skipping.describe_target())
    assert not its["idle expert skipped"]
    found = skipping.detect(next(each.files for each in its[bug] if site in each.site), {})
    assert found is not None
    assert (found.rung, found.means, message in found.message) == ("numbers", "difference", True), found


@pytest.fixture(scope="module")
def skipping(tmp_path_factory: pytest.TempPathFactory) -> MutantRunner:
    """Its plan leaves experts without tokens as they are."""
    plans = load(RUN_PLANS / "idle-experts.parc").plans
    sample = compile_sample(next(plan for plan in plans if plan.name == "data"), "fp64")
    return MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path_factory.mktemp("skipping"), timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["optimizer-sharded", "data"])
def test_gradients_that_are_sent_as_they_are_are_detected(layout: str, tmp_path: Path) -> None:
    """In the program that is run in bfloat16: in float64 they are sent as they are."""
    plan = find_plan("moe", layout)
    types = replace(plan.train.precision, compute="bf16", master="fp32", gradients="fp32", reduce="bf16")
    plan = replace(plan, train=replace(plan.train, precision=types))
    sample, low = compile_sample(plan, "fp64"), compile_sample(plan, "bf16")
    runner = MutantRunner(sample, low, Tokens(VOCABULARY), tmp_path, timeout=60)
    assert runner.check_original() is None
    found = detect(runner, "gradients in the wrong type", "sent as they are")
    assert found is not None
    assert (found.rung, found.means) == ("matching", "difference")
    assert "another operation is issued" in found.message


@pytest.mark.slow
def test_parameters_that_are_not_kept_in_fp32_are_detected(tmp_path: Path) -> None:
    """In the program that is run in bfloat16: in float64 all have the same type."""
    plan = find_plan("moe", "gradients-sharded")
    types = replace(plan.train.precision, compute="bf16", master="fp32", gradients="fp32", reduce="bf16")
    types = replace(types, keep_fp32=("norms", "router"))
    plan = replace(plan, train=replace(plan.train, precision=types))
    sample, low = compile_sample(plan, "fp64"), compile_sample(plan, "bf16")
    runner = MutantRunner(sample, low, Tokens(VOCABULARY), tmp_path, timeout=60)
    assert runner.check_original() is None
    its = [each for each in inject_bugs(runner.describe_target())["parameters not kept in fp32"] if each.run]
    assert len(its) == 2
    for site in ("as the others", "sent as the others"):
        found = detect(runner, "parameters not kept in fp32", site)
        assert found is not None
        assert (found.rung, found.means) == ("matching", "difference")
        assert "another operation is issued" in found.message


@pytest.fixture(scope="module")
def rounding(tmp_path_factory: pytest.TempPathFactory) -> MutantRunner:
    """Its plan keeps moments in fewer bits than masters."""
    plans = load(RUN_PLANS / "moments.parc").plans
    sample = compile_sample(next(plan for plan in plans if plan.name == "shared"), "fp64")
    return MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path_factory.mktemp("rounding"), timeout=60)


@pytest.mark.slow
def test_other_pairs_that_are_dropped_are_detected(tmp_path: Path) -> None:
    plan = choose(load(RUN_PLANS / "capacity.parc"), "sequence")
    assert isinstance(plan, Plan)
    sample = choose_sample(plan, "fp64", plan.mesh.size)
    tokens, routing = choose_tokens(sample, 0)
    assert "70 of 192 pairs are dropped" in routing
    runner = MutantRunner(sample, None, tokens, tmp_path, timeout=60)
    bugs = inject_bugs(MutationTarget(sample))
    classes = (
        "capacity drops of the wrong tokens",
        "capacity of each rank alone",
        "capacity off by rounding",
    )
    mutants = [each for name in classes for each in bugs[name]]
    assert len(mutants) == 8
    assert all(each.run for each in mutants)
    for mutant in mutants:
        found = runner.detect(mutant.files, {})
        assert found is not None, mutant.site
        assert found.means == "difference", mutant.site


@pytest.mark.slow
@pytest.mark.parametrize("site", ["losses of ranks summed", "times the microbatches", "detached"])
def test_a_balance_loss_of_each_rank_that_is_scaled_wrong_is_detected(site: str, tmp_path: Path) -> None:
    plan = choose(load(RUN_PLANS / "balance-of-each-rank.parc"), "sequence")
    assert isinstance(plan, Plan)
    sample = compile_sample(plan)
    runner = MutantRunner(sample, None, Tokens(VOCABULARY), tmp_path, timeout=60)
    its = inject_bugs(MutationTarget(sample))["balance loss wrongly scaled or not attached"]
    found = runner.detect(next(each.files for each in its if site in each.site), {})
    assert found is not None
    assert (found.rung, found.means) == ("numbers", "difference")


def test_data_ranks_may_trade_their_slices(runner: MutantRunner) -> None:
    """Of the class of ranks fed the wrong data, the one that is no bug. Low precision would see other tokens
    than those whose routing is replayed."""
    its = inject_bugs(MutationTarget(runner.sample))["ranks fed the wrong data"]
    (traded,) = (each for each in its if "trade" in each.site)
    assert traded.equivalent
    assert runner.detect_by_numbers({**runner.sample.files, **traded.files}, 3) is None


def test_a_mutant_that_hangs_is_detected_by_its_time_limit(runner: MutantRunner, tmp_path: Path) -> None:
    files = dict(runner.sample.files)
    step = b"        start = time.perf_counter()\n"
    gradients = b"        ids = self.batches.load("
    assert files["runtime/training.py"].count(gradients) == 1
    wait = b"        if dist.get_rank() == 1:\n            time.sleep(600)\n"
    files["runtime/training.py"] = files["runtime/training.py"].replace(gradients, wait + gradients)
    assert step in files["runtime/training.py"]
    impatient = MutantRunner(runner.sample, None, Tokens(VOCABULARY), tmp_path, timeout=0)
    impatient.limit = 6
    found = impatient.detect_by_numbers(files, 1)
    assert found is not None
    assert found.means == "time-out"
    assert found.message.startswith("hangs")


@pytest.mark.parametrize(
    ("edit", "rung", "message"),
    [
        ("total.square_root()", "matching", "AttributeError"),
        ("total.sqrt() if total.is_meta else total.square_root()", "numbers", "AttributeError"),
        ("sys.exit()", "matching", "exit status 0, as if it had succeeded"),
    ],
)
def test_a_crash_is_not_reported_as_a_difference(
    edit: str, rung: str, message: str, runner: MutantRunner
) -> None:
    text = runner.sample.files["runtime/gradients.py"].decode()
    assert text.count("return total.sqrt()") == 1
    crashing = text.replace("return total.sqrt()", f"import sys\n        return {edit}").encode()
    found = runner.detect({"runtime/gradients.py": crashing}, {})
    assert found is not None
    assert (found.rung, found.means) == (rung, "crash")
    assert message in found.message


def test_a_difference_on_one_rank_is_preferred_to_a_crash_on_another(runner: MutantRunner) -> None:
    """Rank 0 leaves a sum out, rank 1 crashes where it would have made it."""
    text = runner.sample.files["runtime/collectives.py"].decode()
    summed = "    dist.all_reduce(total, group=group)\n"
    assert text.count(summed) == 1
    edit = text.replace(summed, "    if dist.get_rank() == 1:\n        total.no_such_method()\n")
    found = runner.detect({"runtime/collectives.py": edit.encode()}, {})
    assert found is not None
    assert (found.rung, found.means) == ("matching", "difference")
    assert "on rank 0" in found.message


@pytest.mark.parametrize("model", ["moe", "classic"])
def test_every_mutant_is_another_program_that_parses(model: str) -> None:
    target = MutationTarget(compiled(model, EVERYTHING))
    found = [mutant for its in inject_bugs(target).values() for mutant in its]
    assert len(found) > 100
    for mutant in found:
        for name, text in mutant.files.items():
            assert target.sample.files[name] != text, mutant.site
            ast.parse(text)


def test_most_classes_apply_to_a_plan() -> None:
    for model in ("moe", "classic"):
        found = inject_bugs(MutationTarget(compiled(model, EVERYTHING)))
        assert sum(any(not mutant.equivalent for mutant in its) for its in found.values()) >= 25


def test_every_class_says_where_it_applies() -> None:
    for name, bug in BUGS.items():
        assert "Applies" in (bug.__doc__ or ""), name


def test_the_table_adds_up() -> None:
    right, wrong = Mutant("here", {}), Mutant("there", {}, equivalent="one rank along `ep`")
    found = [
        Outcome("one", right, Detection("matching", "difference", "")),
        Outcome("one", right, Detection("numbers", "crash", "")),
        Outcome("one", right, Detection("numbers", "time-out", "")),
        Outcome("two", right, None),
        Outcome("two", wrong, None),
        Outcome("two", Mutant("nowhere", {}, undetectable="no expert is idle"), None),
    ]
    assert list(format_table(found)) == [
        "class  mutants  matching  numbers  fp32  bf16  difference  crash  time-out  survived  equivalent",
        "one        3         1        2                       1      1         1",
        "two        1                                                                     1           1",
        "all        4         1        2                       1      1         1         1           1",
    ]


def test_mutants_with_the_same_edit_are_one() -> None:
    """Two axes of one size: an edit that divides by the size of either is the same."""
    found = inject_bugs(MutationTarget(compiled("moe", EVERYTHING)))[
        "balance loss wrongly scaled or not attached"
    ]
    (joined,) = (each for each in found if "the size of" in each.site)
    assert "`ep`; the same edit: train.py: its weight times the size of `tp`" in joined.site


def test_a_mutant_that_survives_refutes_the_rung(small: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def unseen(target: MutationTarget) -> Iterator[Mutant]:
        comment = b"# a bug that no rung can see\n"
        yield Mutant("train.py", {"train.py": target.sample.files["train.py"] + comment})

    for name in list(BUGS):
        monkeypatch.delitem(BUGS, name)
    monkeypatch.setitem(BUGS, "unseen", unseen)
    lines: list[str] = []
    rung = prove_mutants(list(run_mutants(small, None, Tokens(VOCABULARY), progress=lines.append)))
    assert rung.verdict == "refuted"
    assert [finding.message for finding in rung.findings] == ["not detected: unseen, train.py"]
    assert lines == ["1 of 1 mutants: unseen, train.py: NOT DETECTED"]


def test_a_wrong_program_is_not_mutated(small: Sample) -> None:
    broken = next(
        each
        for each in inject_bugs(MutationTarget(small))["scaled by microbatches"]
        if "divided" in each.site
    )
    wrong = replace(small, files={**small.files, **broken.files})
    with pytest.raises(NotProvable, match="numbers, by difference: gradient of"):
        list(run_mutants(wrong, None, Tokens(VOCABULARY), progress=print))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "name", ["all_axes", "experts_with_data", "one_expert_a_rank", "an_axis_of_one", "one_microbatch"]
)
def test_equivalent_mutants_compute_the_same(name: str, tmp_path: Path) -> None:
    """In training. A function may be wrong for what this plan never asks of it."""
    sample, tokens = benchmark.compile_plan(name)[0], benchmark.build_tokens()
    reference = tmp_path / "reference.pt"
    save_reference(SampleRun(sample, tmp_path, tokens, 300).reference, 3, reference)
    its = [each for its in inject_bugs(MutationTarget(sample)).values() for each in its if each.equivalent]
    by_reason = {(mutant.equivalent, mutant.site.partition(":")[0]): mutant for mutant in its}
    assert by_reason
    for number, mutant in enumerate(by_reason.values()):
        folder = tmp_path / f"program-{number}"
        write({**sample.files, **mutant.files}, folder)
        found = compare_program(SampleRun(sample, folder, tokens, 300), reference)
        trained = [each for each in found if not each.what.startswith(FUNCTION)]
        assert trained[0].used <= 1, (mutant.site, trained[0])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["experts_on_tensor", "stages", "an_axis_of_one"])
def test_every_mutant_of_a_few_plans_is_detected(name: str) -> None:
    samples = benchmark.compile_plan(name)
    rung = prove_mutants(list(run_mutants(*samples, benchmark.build_tokens(), progress=print)))
    assert rung.verdict == "proved", rung.findings
