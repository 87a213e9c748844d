"""The page of `parc explain --html`, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from parc import cli
from parc.check.load import load
from parc.plan.blocks import Level, Plan
from parc.plan.mesh import Axis, Mesh
from parc.render.page import render_page
from parc.report.overview import build_overview
from tests.explain.plans import DEVICE, build_million, build_small, load_plan

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXAMPLES = Path(__file__).parents[2] / "examples"
HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    "</script \n/x><!-- <script {{ 7 * 7 }}{% raw %}'\"`&"  # each could end the data, or keep it from ending
)
Open = Callable[..., "Page"]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a plan from a file; fails where the console or the network has anything to say."""
    told: list[str] = []
    pages: list[Page] = []

    def open(plan: Plan, width: int = 1280, scheme: Any = "light") -> Page:
        file = tmp_path / "page.html"
        file.write_text(render_page(build_overview(plan)), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda fault: told.append(str(fault)))
        page.on("request", lambda request: request.url == file.as_uri() or told.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open
    for page in pages:
        page.close()
    assert told == []


def find_lit(page: Page) -> dict[str, set[int]]:
    """The squares that stand out, by the class of their colour; on a map of single ranks a square's number is
    its rank."""
    found: dict[str, set[int]] = {}
    pairs = page.eval_on_selector_all(
        ".cell.lit, .cell.here", "all => all.map(each => [each.getAttribute('class'), +each.dataset.at])"
    )
    for name, rank in pairs:
        found.setdefault(name.split()[-1], set()).add(rank)
    return found


def compute_lit(plan: Plan, rank: int) -> dict[str, set[int]]:
    """The rank's group along each axis, by the layout algebra."""
    found = {"here": {rank}}
    for number, axis in enumerate(plan.mesh.axes):
        if others := set(plan.mesh.group(rank, [axis.name])) - {rank}:
            found[f"a{number}"] = others
    return found


def hover(page: Page, rank: int) -> None:
    page.hover(f'[data-at="{rank}"]')


SEED = load(EXAMPLES / "seed.parc").plans[0]
THIN = load_plan(
    build_small().replace("ep: 2, pp: 2, tp: 2", "tp: 2, ep: 1, pp: 2")
)  # an axis of one, tp outermost


@pytest.mark.parametrize(
    ("plan", "ranks"), [(SEED, (0, 37, 127)), (load_plan(build_small()), range(8)), (THIN, range(4))]
)
def test_pointing_at_a_rank_lights_its_groups_and_no_others(opened: Open, plan: Plan, ranks: Any) -> None:
    page = opened(plan)
    assert page.locator(".cell").count() == plan.mesh.size
    for rank in ranks:
        hover(page, rank)
        assert find_lit(page) == compute_lit(plan, rank)
    page.mouse.move(2, 2)
    assert find_lit(page) == {}


def test_a_click_pins_and_lets_go(opened: Open) -> None:
    page = opened(SEED)
    page.click('[data-at="37"]')
    page.mouse.move(2, 2)
    assert find_lit(page) == compute_lit(SEED, 37)
    assert page.inner_text("#panel h3").split("\n") == ["Rank 37", "unpin"]
    hover(page, 90)  # another one may be looked at meanwhile
    assert find_lit(page) == compute_lit(SEED, 90)
    page.mouse.move(2, 2)
    assert find_lit(page) == compute_lit(SEED, 37)
    page.click('[data-at="37"]')
    page.mouse.move(2, 2)
    assert find_lit(page) == {}


def test_the_panel_tells_what_the_command_tells(opened: Open, capsys: pytest.CaptureFixture[str]) -> None:
    """rank 37 = (2 * 4 + 1) * 4 + 1, on nodes of 16."""
    page = opened(SEED)
    hover(page, 37)
    told = page.inner_text("#panel")
    for words in (
        "node 2, device 5",
        "ep 2",
        "pp 1",
        "tp 1",
        "4\u20137",
        "16\u201323 of 64",
        "36\u201339",
        "33, 37, 41, 45",
    ):
        assert words in told
    cli.main(["explain", str(EXAMPLES / "seed.parc"), "--rank", "37"])
    plain = capsys.readouterr().out
    for words in ("node 2, device 5", "layers 4-7", "16-23 of 64", "36-39", "33, 37, 41, 45"):
        assert words in plain


def test_a_strategy_lights_its_own_group(opened: Open) -> None:
    """Data over two axes at once: the panel's line lights all eight ranks, not two lines of the map."""
    plan = load_plan(
        build_small()
        .replace("mesh = [ep: 2,", "mesh = [dp: 2, ep: 2,")
        .replace("[fabric: 2", "[fabric: 4")
        .replace("over [ep]\n  tensor", "over [dp, ep]\n  tensor")
    )
    page = opened(plan)
    page.click('[data-at="5"]')
    page.hover("#panel .peer:has-text('data over dp')")
    assert find_lit(page) == {"here": {5}, "a0": set(plan.mesh.group(5, ["dp", "ep"])) - {5}}


def test_by_keyboard_alone(opened: Open) -> None:
    page = opened(SEED)
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")  # four squares in a row of a node
    assert find_lit(page) == compute_lit(SEED, 5)
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    assert find_lit(page) == compute_lit(SEED, 127)
    page.evaluate("document.activeElement.blur()")
    assert find_lit(page) == compute_lit(SEED, 5)
    page.focus("#map")
    page.keyboard.press("Escape")
    assert find_lit(page) == {}
    page.fill("#rank", "64")
    page.keyboard.press("Enter")
    assert find_lit(page) == compute_lit(SEED, 64)
    page.fill("#rank", "128")
    page.keyboard.press("Enter")
    assert page.get_attribute("#rank", "aria-invalid") == "true"
    assert find_lit(page) == compute_lit(SEED, 64)


def test_every_pass_has_its_bar_as_long_as_it_lasts(opened: Open) -> None:
    overview = build_overview(SEED)
    assert overview.step is not None
    line = overview.step.timeline
    page = opened(SEED)
    widths = page.eval_on_selector_all(
        "#line .pass.forward, #line .pass.backward",
        "all => all.map(each => each.getBoundingClientRect().width)",
    )
    assert len(widths) == 2 * 4 * 32  # forward and backward, stages, microbatches
    room = page.eval_on_selector("#line .waits", "each => each.getBoundingClientRect().width")
    drawn, busy = sum(widths), sum(each.end - each.begin for each in line.events)
    # 0.8 pixels between two bars are left out of each.
    assert drawn + 0.8 * len(widths) == pytest.approx(room * busy / line.end, rel=0.01)


def test_a_schedule_without_times_is_drawn_in_units(opened: Open) -> None:
    page = opened(load_plan(build_small()))
    assert page.locator("#line .pass").count() == 2 * 2 * 4
    assert "the time is unknown" in page.inner_text("main")
    assert "link fabric { bandwidth" in page.inner_text(".missing")


def test_second_halves_of_backward_passes_are_told_apart(opened: Open) -> None:
    page = opened(load_plan(build_small("", "zero_bubble")))
    kinds = ("forward", "backward", "weights")
    assert [page.locator(f"#line .pass.{kind}").count() for kind in kinds] == [2 * 4] * 3
    colours = {
        page.eval_on_selector(f"#line .pass.{kind}", "each => getComputedStyle(each).fill") for kind in kinds
    }
    assert len(colours) == 3
    assert "backward of parameters" in page.inner_text("#line-legend")


def test_memory_is_stacked_by_kind(opened: Open) -> None:
    page = opened(load_plan(build_small(DEVICE)))
    overview = build_overview(load_plan(build_small(DEVICE)))
    label = page.get_attribute("#memory svg[role=img] >> nth=1", "aria-label")
    assert label is not None
    assert label.startswith("stage 1: parameters 8.1 kB, gradients 8.1 kB, optimizer 16.2 kB")
    script = "all => all.map(bar => [...bar.querySelectorAll('.part')].map(part => part.width.baseVal.value))"
    widths = page.eval_on_selector_all("#memory svg[role=img]", script)
    for stage, bars in zip(overview.stages, widths, strict=True):
        assert stage.memory is not None
        parts = [part.value for part in stage.memory.parts if part.value]
        assert [bar / sum(bars) for bar in bars] == pytest.approx([part / sum(parts) for part in parts])


def test_a_stage_in_view_is_marked_everywhere(opened: Open) -> None:
    page = opened(SEED)
    page.hover("#stages tr[data-stage='2'] th")
    assert find_lit(page) == {"a1": {rank for rank in range(128) if rank // 4 % 4 == 2}}
    assert page.inner_text("#memory .on") == "stage 2"
    assert page.text_content("#line .row-name.on") == "stage 2"
    assert "stage 2" in page.inner_text("#traffic-note")


def test_a_million_ranks_are_squares_of_racks_that_open(opened: Open) -> None:
    """256 racks of 512 nodes of 8; rank 999,999 is in rack 244, node 71."""
    plan = load_plan(build_million(DEVICE))
    page = opened(plan)
    assert page.locator(".cell").count() == 256
    hover(page, 3)
    assert page.inner_text("#panel h3").startswith("Rank 12,288")
    assert set(find_lit(page)) == {"here", "a0"}
    assert len(find_lit(page)["a0"]) == 255  # the data axis reaches them all
    page.click('[data-at="3"]')
    assert page.locator(".cell").count() == 4096
    page.fill("#rank", "999,999")
    page.keyboard.press("Enter")
    assert "rack 244" in page.inner_text("#path")
    first = 244 * 4096
    group = [plan.mesh.group(999_999, [axis.name]) for axis in plan.mesh.axes]
    found = find_lit(page)
    assert found["here"] == {999_999 - first}
    for number in (1, 2, 3):
        assert found[f"a{number}"] == {each - first for each in group[number]} - {999_999 - first}
    assert found["a0"] == set(range(7, 4096, 8)) - found["here"]


HOST = """<!doctype html><iframe id="page" src="page.html" width="1000" height="800"></iframe>
<script>var got = []; addEventListener("message", (event) => got.push(event.data));</script>"""


def test_a_host_page_highlights_and_hears(opened: Open, browser: Browser, tmp_path: Path) -> None:
    """The messages of docs/explain.md."""
    opened(SEED)  # writes page.html
    (tmp_path / "host.html").write_text(HOST)
    host = browser.new_page()
    host.goto((tmp_path / "host.html").as_uri())
    frame = host.frame_locator("#page")

    def send(message: str) -> None:
        host.evaluate(f"document.getElementById('page').contentWindow.postMessage({message}, '*')")
        host.wait_for_timeout(50)

    def classes(rank: int) -> str:
        return (frame.locator(f'[data-at="{rank}"]').get_attribute("class") or "").strip()

    assert host.evaluate("got") == [{"parc": 1, "type": "ready", "plan": "wide", "ranks": 128}]
    send("{parc: 1, type: 'highlight', rank: 37}")
    assert (classes(37), classes(36), classes(5)) == ("cell here", "cell lit a2", "cell lit a0")
    send("{parc: 1, type: 'highlight', rank: 37, axis: 'tp'}")
    assert (classes(36), classes(5)) == ("cell lit a2", "cell")
    send("{parc: 1, type: 'highlight', stage: 1}")
    assert (classes(4), classes(8)) == ("cell lit a1", "cell")
    send("{parc: 1, type: 'highlight', axis: 'ep'}")
    assert frame.locator(".chip[aria-pressed=true]").inner_text() == "ep 8"
    for nonsense in (
        "null",
        "7",
        "{}",
        "{parc: 1, type: 'highlight', rank: 1e9, axis: '__proto__', stage: -1}",
    ):
        send(nonsense)
    assert frame.locator(".cell.lit").count() == 0
    send("{parc: 1, type: 'theme', theme: 'dark'}")
    assert frame.locator("html").get_attribute("data-theme") == "dark"
    frame.locator('[data-at="90"]').click()
    assert host.evaluate("got.at(-1)") == {"parc": 1, "type": "rank", "rank": 90}
    host.close()


def build_hostile() -> Plan:
    """Names that no file can give: the grammar has none of these characters, the page must not rely on it."""
    plan = load_plan(build_small(DEVICE))
    mesh = Mesh(tuple(Axis(axis.name + HOSTILE, axis.size) for axis in plan.mesh.axes))
    assert plan.data
    assert plan.tensor
    assert plan.experts
    assert plan.pipeline
    return replace(
        plan,
        name=HOSTILE,
        mesh=mesh,
        cluster=replace(
            plan.cluster, name=HOSTILE, levels=(*(Level(HOSTILE, each.size) for each in plan.cluster.levels),)
        ),
        train=replace(plan.train, name=HOSTILE, model=replace(plan.train.model, name=HOSTILE)),
        data=replace(plan.data, axes=("ep" + HOSTILE,)),
        tensor=replace(plan.tensor, axes=("tp" + HOSTILE,)),
        experts=replace(plan.experts, axes=("ep" + HOSTILE,)),
        pipeline=replace(plan.pipeline, axes=("pp" + HOSTILE,)),
    )


def test_names_are_text_whatever_they_are(opened: Open) -> None:
    page = opened(build_hostile())
    hover(page, 5)
    page.click('[data-at="5"]')
    assert page.text_content("h1") == HOSTILE
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2  # the data, and the page's own
    assert page.evaluate("window.hacked") is None
    assert f"tp{HOSTILE}" in (page.text_content("#panel") or "")


def test_the_policy_lets_nothing_else_run(opened: Open) -> None:
    page = opened(SEED)
    policy = page.get_attribute("meta[http-equiv]", "content")
    assert policy is not None
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_it_fits_every_width(opened: Open, width: int) -> None:
    page = opened(SEED, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.eval_on_selector("#map svg", "each => each.getBoundingClientRect().right") <= width


def test_light_and_dark(opened: Open) -> None:
    def luminance(scheme: str) -> int:
        page = opened(SEED, scheme=scheme)
        red, *_ = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        return int(red)

    assert luminance("dark") < 40
    assert luminance("light") > 220


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    seed = str(EXAMPLES / "seed.parc")
    assert cli.main(["explain", seed, "--html", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    text = out.read_text(encoding="utf-8")
    assert len(text) < 200_000
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert cli.main(["explain", seed, "--html", str(tmp_path / "none" / "page.html")]) == 1
    assert "error[P642]" in capsys.readouterr().out
