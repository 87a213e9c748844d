"""`parc explain` as it is typed: what is printed, and the exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from parc import cli
from parc.check.pages import format_page, list_rules
from parc.render.overview import render
from parc.render.terminal import Pen
from tests.explain.plans import DEVICE, build_million, build_small, explain_text

TOLD = """\
plan small: 8 ranks  train first, model moe, cluster pair
  model    7,880 parameters, 4,480 active in the matmuls of a token
  mesh     ep 2 x pp 2 x tp 2   rank = (ep * 2 + pp) * 2 + tp
  cluster  fabric 2 x node 4 = 8 devices, all used
  batch    16 sequences x 10 tokens in 4 microbatches

GROUPS
  strategy  over  groups  ranks  one spans  rank 0's group
  data      ep         4      2  2 nodes    0, 4
  tensor    tp         4      2  1 node     0-1
  experts   ep         4      2  2 nodes    0, 4
  pipeline  pp         4      2  1 node     0, 2

STAGES  of one rank
  stage  layers  MoE layers  experts  parameters  FLOPs
      0  0-1              2   2 of 4       2,016  47.5%
      1  2-3              2   2 of 4       2,024  52.5%

MEMORY  one rank at its peak; the device of the cluster has no `memory`
  stage 0 PPPPGGGGOOOOOOOOAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWWWWW.| 160 kB?
  stage 1 PPPPGGGGOOOOOOOOAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAALLLLLL| 162 kB?
  P parameters, G gradients, O optimizer, A activations, L logits, W working
  stage 1: parameters 8.1 kB, gradients 8.1 kB, optimizer 16.2 kB, activations 118 kB?, logits
    11.5 kB?

TRAFFIC  one rank of stage 1 sends in a step, none sends more
  strategy  over  link        sent  calls
  data      ep    fabric  1.95 kB?  1 all_reduce
  tensor    tp    node    13.8 kB?  28 all_reduce
  experts   ep    fabric  20.6 kB~  40 all_to_all
  pipeline  pp    node     2.56 kB  4 send

STEP  gpipe, 4 microbatches; in units of a forward pass, since the time is unknown
  waits 20.0%?   bubble 20.0%   614 kFLOP per device
  stage 0 aaaaaabbbbbbccccccdddddd..................AAAAAAAAAAABBBBBBBBBBBBCCCCCCCCCCCCDDDDDDDDDDDD
  stage 1 ......aaaaaabbbbbbccccccddddddAAAAAAAAAAAABBBBBBBBBBBCCCCCCCCCCCCDDDDDDDDDDDD............
          0                                                                                15 units
  a b c .. forward of microbatches 0 1 2 .., A B C .. backward, . waits

UNKNOWN
  step time, MFU, tokens/s: no device is described; the network of level `fabric` is not
    described; the network of level `node` is not described
    add in cluster pair, for example:
      device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
      link fabric { bandwidth = 50 GB/s, latency = 8 us }
      link node { bandwidth = 50 GB/s, latency = 8 us }

unmarked figures are exact; ~ expected, * calibrated, ? estimated; -v shows their derivations
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.parc"
    path.write_text(build_small())
    return path


def test_a_plan_at_a_glance(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan is in plans.py; test_report.py reckons its figures by hand."""
    assert cli.main(["explain", str(file)]) == 0
    assert capsys.readouterr().out == TOLD


def test_it_begins_with_the_size_of_the_model(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", str(file)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "  model    7,880 parameters, 4,480 active in the matmuls of a token"
    assert cli.main(["explain", str(file), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["parameters"]["value"], found["active_parameters"]["value"]) == (7880, 4480)
    assert cli.main(["explain", str(file), "-v"]) == 0
    assert "parameters 7,880 (exact): all together" in capsys.readouterr().out


RANK = """\
rank 5 of plan small  node 1, device 1
  at         ep = 1, pp = 0, tp = 1
  stage      0 of 2: layers 0-1
  experts    2-3 of 4, in each of 2 MoE layers
  sequences  2-3 of the first microbatch

AXES  this rank's group along each
  axis   place  ranks
  ep    1 of 2  1, 5
  pp    0 of 2  5, 7
  tp    1 of 2  4-5

GROUPS  this rank's group for each strategy
  strategy  over   place  ranks
  data      ep    1 of 2  1, 5
  tensor    tp    1 of 2  4-5
  experts   ep    1 of 2  1, 5
  pipeline  pp    0 of 2  5, 7

HOLDS  at its peak
  parameters    8.06 kB
  gradients     8.06 kB
  optimizer     16.1 kB
  activations   118 kB?
  working      9.09 kB?
  total         160 kB?

BUFFERS  passes to collectives and sends in a step
  embedding, forward: all_reduce over tensor               2.56 kB
  attention, forward: all_reduce over tensor               5.12 kB
  attention, backward: all_reduce over tensor              5.12 kB
  experts, row counts, forward: all_to_all over experts      256 B
  experts, forward: all_to_all over experts               20.5 kB~
  experts, backward: all_to_all over experts              20.5 kB~
  gradients of all but the experts: all_reduce over data   1.92 kB
  activations: send over pipeline                          2.56 kB
  metrics                                                   976 B?
  total                                                   59.5 kB?

UNKNOWN
  step time, MFU, tokens/s: no device is described; the network of level `fabric` is not
    described; the network of level `node` is not described
    add in cluster pair, for example:
      device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
      link fabric { bandwidth = 50 GB/s, latency = 8 us }
      link node { bandwidth = 50 GB/s, latency = 8 us }

unmarked figures are exact; ~ expected, * calibrated, ? estimated
"""


def test_a_rank_at_a_glance(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", str(file), "small", "--rank", "5"]) == 0
    assert capsys.readouterr().out == RANK


def test_with_a_device_there_are_times(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(build_small(DEVICE))
    assert cli.main(["explain", str(file)]) == 0
    told = capsys.readouterr().out
    assert "UNKNOWN" not in told
    assert "1 MB per device" in told
    for word in ("step ", "MFU ", " tokens/s", "+ sums gradients"):
        assert word in told


def test_derivations_on_demand(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", str(file), "-v"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(TOLD.rpartition("\nunmarked")[0])
    assert "  stage 0: parameters 2,016 (exact)" in told  # 256 + 32 + 64 + 1536 + 128
    assert "    parameters 8.06 kB (exact): 2,016 x 4 B" in told
    assert "  stage 1: pipeline over node 2.56 kB (exact): send" in told
    assert "arithmetic " in told


def test_stages_that_are_alike_are_derived_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the seed's four stages, the two in the middle have neither embedding nor head."""
    seed = Path(__file__).parents[2] / "examples" / "seed.parc"
    assert cli.main(["explain", str(seed), "-v"]) == 0
    derived = capsys.readouterr().out.partition("DERIVATIONS")[2].splitlines()
    told = [line for line in derived if re.search("stages? [0-9-]+: parameters ", line)]
    assert [line.partition(":")[0] for line in told] == ["  stage 0", "  stages 1-2", "  stage 3"]


def test_no_line_is_wider_than_the_terminal() -> None:
    for text in (build_small(), build_small(DEVICE), build_million(DEVICE)):
        for width in (60, 80, 120):
            told = render(explain_text(text), Pen(width=width))
            tables = told.partition("\nUNKNOWN")[0]  # what is to be written is not broken
            assert max(map(len, tables.splitlines())) <= width


def test_colour_is_the_only_difference() -> None:
    overview = explain_text(build_small(DEVICE))
    plain, painted = render(overview, Pen()), render(overview, Pen(color=True))
    assert painted != plain
    assert re.sub(r"\033\[[0-9;]*m", "", painted) == plain


def test_a_pipe_and_no_color_have_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["explain", str(file)])
    assert "\033" not in capsys.readouterr().out


def test_json_for_scripts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", str(file), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["plan"], told["ranks"]) == (2, "small", 8)
    assert told["mesh"][0] == {"name": "ep", "size": 2, "stride": 4}
    assert told["stages"][1]["layers"] == [[2, 3]]
    memory = told["stages"][0]["memory"]
    assert memory["value"] == sum(part["value"] for part in memory["parts"])
    assert {part["grade"] for part in memory["parts"]} == {"exact", "estimated"}
    assert cli.main(["explain", str(file), "--format", "json", "--rank", "5"]) == 0
    rank = json.loads(capsys.readouterr().out)
    assert rank["coordinates"] == {"ep": 1, "pp": 0, "tp": 1}
    assert rank["axes"][0]["ranks"] == {"base": 1, "digits": [[2, 4]], "text": "1, 5"}


@pytest.mark.parametrize("rank", ["8", "-1", "99999999999999999999"])
def test_a_rank_that_is_not_there(file: Path, capsys: pytest.CaptureFixture[str], rank: str) -> None:
    assert cli.main(["explain", str(file), f"--rank={rank}"]) == 1
    told = capsys.readouterr().out
    assert told.startswith(f"error[P641]: there is no rank {rank}")
    assert "2 x 2 x 2 = 8 ranks" in told
    assert "ranks are 0 to 7" in told


def test_faults_come_first(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(build_small().replace("layers = [2, 2]", "layers = [2, 3]"))
    assert cli.main(["explain", str(file)]) == 1
    assert capsys.readouterr().out.startswith("error[P212]")
    assert cli.main(["explain", str(file.parent / "none.parc")]) == 2


def test_of_several_plans_one_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = build_small()
    head, _, body = text.partition("plan small")
    file.write_text(f"{head}plan small{body}plan other{body}")
    assert cli.main(["explain", str(file)]) == 1
    assert "its plans are `small`, `other`" in capsys.readouterr().out
    assert cli.main(["explain", str(file), "other"]) == 0
    assert capsys.readouterr().out.startswith("plan other: 8 ranks")


OTHER = """
train odd {
  model = moe
  batch { sequences = 16, length = 10, microbatches = 3 }
}
plan other for odd on pair {
  mesh = [ep: 8]
  data    over [ep]
  experts over [ep]
}
"""


def test_faults_of_other_plans_do_not_hinder(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8 ranks cannot share `other`'s 4 experts, nor its 16 sequences; `small` is as it was."""
    assert cli.main(["explain", str(file), "small"]) == 0
    alone = capsys.readouterr().out
    file.write_text(build_small() + OTHER)
    assert cli.main(["explain", str(file), "small"]) == 0
    assert capsys.readouterr().out == alone
    assert cli.main(["explain", str(file), "other"]) == 1
    assert "error[P207]" in capsys.readouterr().out


def test_faults_of_names_hinder_wherever_they_are(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(build_small() + OTHER.replace("on pair", "on pears"))
    assert cli.main(["explain", str(file), "small"]) == 1
    assert "pears" in capsys.readouterr().out


def test_remarks_are_those_of_the_plan_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`other` leaves devices without work, and `small` does not."""
    file.write_text(build_small() + OTHER.replace("microbatches = 3", "microbatches = 1").replace("8]", "4]"))
    assert cli.main(["explain", str(file), "small"]) == 0
    assert "parc check finds" not in capsys.readouterr().out
    assert cli.main(["explain", str(file), "other"]) == 0
    assert "parc check finds 1 warning" in capsys.readouterr().out


def test_settings_are_heard(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", str(file), "--set", "first.batch.microbatches=8"]) == 0
    assert "in 8 microbatches" in capsys.readouterr().out


HALVES = """
  waits 7.7%?   bubble 7.7%?   614 kFLOP per
    device
  stage 0 aaabbb...AAA###cccBBB###dddCCC###DDD###
  stage 1 ...aaaAAAbbbBBB###cccCCC###dddDDD######
          0                              13 units
  a b c .. forward of microbatches 0 1 2 .., A B
    C .. backward, . waits, # backward of
    parameters
"""


def test_a_split_backward_pass_is_drawn_in_halves() -> None:
    """Three characters a unit: the second stage puts off one microbatch's gradients of parameters."""
    told = render(explain_text(build_small("", "zero_bubble")), Pen(width=50))
    assert HALVES in told


def test_a_step_of_too_many_passes_has_a_time_and_no_picture(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(build_small(DEVICE))
    many = ["first.batch.sequences=524288", "first.batch.microbatches=131072"]
    assert cli.main(["explain", str(file), *(part for each in many for part in ("--set", each))]) == 0
    told = capsys.readouterr().out
    assert re.search(r"\n  step [0-9.,]+ (ms|s)\?   MFU", told)
    assert "stage 0 a" not in told
    assert "timeline: 262,144 passes through a pipeline are more than 131,072" in " ".join(told.split())


def test_claims_are_told_with_their_verdicts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A false claim is an error of `check`; here it is one more thing to tell."""
    claims = "expect { devices == 8, experts.local   == 3, mfu >= 60% }"
    file.write_text(build_small().replace("layers = [2, 2] }", f"layers = [2, 2] }}\n  {claims}"))
    assert cli.main(["explain", str(file)]) == 0
    told = capsys.readouterr().out.partition("CLAIMS  of `expect`\n")[2].splitlines()
    assert told[1] == "  holds    devices == 8        8: 2 x 2 x 2"
    assert told[2] == "  false    experts.local == 3  2: 4 experts of a layer / 2 ranks"
    assert told[3].startswith("  open     mfu >= 60%")
    assert told[-1] == "parc check finds 1 error"
    cli.main(["explain", str(file), "--format", "json"])
    claims = json.loads(capsys.readouterr().out)["claims"]
    assert [each["holds"] for each in claims] == [True, False, None]
    assert "does not say" in claims[2]["missing"]


def test_too_little_memory_is_shown_not_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(build_small(DEVICE.replace("memory = 1 MB", "memory = 100 kB")))
    assert cli.main(["explain", str(file)]) == 0
    told = capsys.readouterr().out
    bars = [line for line in told.splitlines() if line.startswith("  stage") and "PP" in line]
    assert all("! " in bar and bar.endswith("%") for bar in bars)
    assert len(bars) == 2
    assert "parc check finds 1 error" in told


def test_every_code_has_a_page() -> None:
    for rule in (each for each in list_rules() if "P640" <= each.code < "P660"):
        text = format_page(rule.code)
        assert text is not None
        assert "## Example" in text
        assert "## Instead" in text
