"""Test the report's page in a real Chromium: charts, hover, legend, tables, and that it runs and loads nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.measurements.record import Measurement
from analyzer.measurements.text import by_subject
from planner.placement.document import Placement
from planner.verification.document import Verdict, Verification
from reports.page import render
from tests.builders.browser import PROGRAMS, Browser, browser
from tests.builders.measurements import SERVER, failed, measured
from tests.builders.placements import gpu, model, placement
from tests.builders.verifications import verification, verified_content, verified_model
from tests.conftest import missing

PNG = b"\x89PNG a picture"
EVIL = "<script>hacked=1</script><b>'\"&amp;%{x}</b>"
DEMAND = [
    {
        "model": "chest", "rate_infer_per_s": 100.0, "latency_p99_ms": 30, "replicas": None, "spread": None,
        "alone": False, "apart": [], "together": [], "variants": [], "growth": 1.0, "overhead_mib": 0,
    },
]  # fmt: skip
UNKNOWN = "\N{EN DASH}"
# The titles of the charts that are shown but not drawn: those with fewer marks than lines and bars.
UNDRAWN = """
return [...document.querySelectorAll("figure.chart")].filter((figure) => {
  if (figure.offsetParent === null) return false;
  const plot = figure.querySelector(".plot");
  const marks = plot.querySelectorAll(".main-svg .point, .main-svg .lines path").length;
  return !(plot._fullData && plot._fullData.length && marks >= plot._fullData.length);
}).map((figure) => figure.querySelector("figcaption b").textContent);
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start a browser for all tests of this module."""
    for program in PROGRAMS:
        if shutil.which(program) is None:
            missing(f"no {program} here: install Debian's packages chromium and chromium-driver")
    with browser(tmp_path_factory.mktemp("browser") / "log") as started:
        started.resize(1400, 900)
        yield started


def write(
    folder: Path,
    measurements: Sequence[Measurement],
    plan: Placement | None = None,
    found: Verification | None = None,
    *,
    name: str = "plan.json",
) -> Path:
    """Write a page with at most one placement and one verification."""
    placements = [] if plan is None else [(name, plan, [PNG])]
    verifications = [] if found is None else [(name, found, [PNG])]
    html = render(measurements, [SERVER], dict.fromkeys(by_subject(measurements), PNG), placements, verifications)
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


def full_page(folder: Path) -> Path:
    """Write a page with every kind of section: batch sizes, a failed trial, a plan with a budget, a verification."""
    trials = [measured(batch=b, concurrency=c) for b in (1, 2) for c in (1, 2, 4)]
    trials = [replace(m, throughput_ci=0.05, latency_p99_ci=0.1) for m in trials]
    plan = placement(gpu(0, model("chest", 1000), model("liver", 500)), gpu(1, model("liver", 500)), demand=DEMAND)
    late = verified_model("late", 1.6, verdict=Verdict.MISSES)
    found = verification(verified_content(0, verified_model("chest"), late))
    return write(folder, [*trials, failed()], plan, found)


def draw_all(chromium: Browser) -> None:
    """Scroll through the page, as a reader does, until every chart that is shown has been drawn."""
    chromium.run("document.querySelectorAll('figure.chart').forEach((figure) => figure.scrollIntoView())")
    for number in range(chromium.run("return document.querySelectorAll('figure.chart').length")):
        chart = f"document.querySelectorAll('figure.chart')[{number}]"
        if chromium.run(f"return {chart}.offsetParent !== null"):
            chromium.run(f"{chart}.scrollIntoView({{block: 'center'}})")
            chromium.wait(f"{chart}.querySelector('.main-svg')")


def click(chromium: Browser, x: float, y: float) -> None:
    """Press and release the mouse at a place of the viewport."""
    for event in ("mousePressed", "mouseReleased"):
        chromium.devtools("Input.dispatchMouseEvent", type=event, x=x, y=y, button="left", clickCount=1)


def column(chromium: Browser, table: str, number: int) -> list[str]:
    """Return the cells that a table shows in a column."""
    rows = f"[...document.querySelectorAll('table[data-name={table}] tbody tr')]"
    shown: list[str] = chromium.run(f"return {rows}.map((row) => row.cells[{number}].innerText.trim())")
    return shown


def enter(chromium: Browser, field: str, value: str) -> None:
    """Set the value of a field, which a JavaScript expression finds, and tell the page."""
    events = "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind));"
    chromium.run(f"const field = {field}; field.value = arguments[0]; {events}", value)


def plot(title: str) -> str:
    """Return the JavaScript expression of the plot under a title."""
    found = "[...document.querySelectorAll('figure.chart')].find((f) => f.querySelector('b').textContent === "
    return f"{found}{title!r}).querySelector('.plot')"


def hover(chromium: Browser, title: str, curve: int, point: int) -> str:
    """Return what is shown when the mouse is at a point of a chart."""
    chromium.run(f"Plotly.Fx.hover({plot(title)}, [{{curveNumber: {curve}, pointNumber: {point}}}])")
    chromium.wait(f"{plot(title)}.querySelector('.hoverlayer .hovertext')")
    shown: str = chromium.run(
        f"return [...{plot(title)}.querySelectorAll('.hoverlayer text.nums')]"
        ".map((text) => [...text.querySelectorAll('tspan.line')].map((line) => line.textContent).join('\\n')).join('|')"
        f" || {plot(title)}.querySelector('.hoverlayer').textContent"
    )
    return shown


def test_every_chart_is_drawn_without_errors(chromium: Browser, tmp_path: Path) -> None:
    """Each chart shows all its lines and bars, nothing is asked of another host, and the console stays empty."""
    chromium.open(full_page(tmp_path))
    draw_all(chromium)
    assert chromium.run("return document.querySelectorAll('figure.chart').length") == 1 + 3 + 5
    assert chromium.run(UNDRAWN) == []
    assert chromium.run("return performance.getEntriesByType('resource').map((each) => each.name)") == []
    assert chromium.console() == []


def test_hover_shows_all_figures_of_a_trial(chromium: Browser, tmp_path: Path) -> None:
    """Hovering over a trial shows its model, instances, load, memory, utilization, and figures with intervals."""
    chromium.open(full_page(tmp_path))
    draw_all(chromium)
    shown = hover(chromium, "p99 latency over throughput", 0, 2)  # batch 1, concurrency 4
    for words in (
        *("chest, 1 instance", "Batch 1", "Concurrency 4", "Throughput 400 infer/s ±5.0 %"),
        *("p99 latency 40.0 ms ±10 %", "Max GPU utilization 23 %", "Max GPU memory 1461 MiB", "Model's own 1152 MiB"),
    ):
        assert words in shown, shown
    assert "Memory 1000 MiB" in hover(chromium, "What the GPUs hold", 2, 0)  # of chest on gpu-0


def test_budget_and_operating_point_are_shown(chromium: Browser, tmp_path: Path) -> None:
    """The p99 budget of the demand is a line at its height, and the plan's operating point is marked at its trial."""
    chromium.open(full_page(tmp_path))
    draw_all(chromium)
    traces = chromium.run(
        f"return {plot('p99 latency over throughput')}._fullData.map((t) => [t.name, [...t.x], [...t.y]])"
    )
    known = {name: (x, y) for name, x, y in traces}
    assert known["p99 budget 30 ms"][1] == [30, 30]
    assert known["Chosen in plan.json"] == ([400], [40])  # batch 2, concurrency 4, as the builder's models


def test_click_in_the_legend_hides_a_line(chromium: Browser, tmp_path: Path) -> None:
    """A click on a name in the legend hides its line, a second one shows it again."""
    chromium.open(full_page(tmp_path))
    draw_all(chromium)
    chart = plot("Throughput")
    chromium.run(f"{chart}.scrollIntoView({{block: 'center'}})")
    box = chromium.run(f"return {chart}.querySelector('.legendtoggle').getBoundingClientRect().toJSON()")
    for visible in ("legendonly", True):
        click(chromium, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        chromium.wait(f"{chart}._fullData[0].visible === {str(visible).lower() if visible is True else repr(visible)}")


def test_headings_sort_figures_as_figures(chromium: Browser, tmp_path: Path) -> None:
    """A click on a heading sorts by value, a second one the other way; unknown figures stay last."""
    trials = [measured(concurrency=c) for c in (10, 2, 1)]  # 1000, 200 and 100 infer/s: "1000" is before "200" as text
    chromium.open(write(tmp_path, [*trials, failed(concurrency=3)]))
    up, down = ["100", "200", "1000", UNKNOWN], ["1000", "200", "100", UNKNOWN]
    assert column(chromium, "trials", 2) == up
    button = "document.querySelectorAll('table[data-name=trials] th button')[2]"
    for direction, cells in (("ascending", up), ("descending", down)):
        chromium.run(f"{button}.click()")
        assert chromium.run(f"return {button}.parentElement.getAttribute('aria-sort')") == direction
        assert column(chromium, "trials", 2) == cells


def test_hover_stays_right_in_a_sorted_table(chromium: Browser, tmp_path: Path) -> None:
    """A chart that is drawn after its table was sorted and filtered still shows each point's own figures."""
    chromium.open(write(tmp_path, [measured(concurrency=c) for c in (1, 2, 4, 8, 16)]))
    chromium.run("document.querySelectorAll('table[data-name=trials] th button')[1].click()")
    chromium.run("document.querySelectorAll('table[data-name=trials] th button')[1].click()")
    enter(chromium, "document.querySelector('#model-1 input')", "1600")
    assert column(chromium, "trials", 1) == ["16"]
    draw_all(chromium)
    assert "Concurrency 2" in hover(chromium, "Throughput", 0, 1)


def test_filter_shows_the_rows_with_all_words(chromium: Browser, tmp_path: Path) -> None:
    """Typing words leaves the rows that have all of them, and says how many; an empty filter shows all again."""
    plan = placement(*(gpu(n, model(f"model-{n}", 100 + n), model("shared", 50)) for n in range(6)))
    chromium.open(write(tmp_path, [], plan))
    section = "document.querySelector('table[data-name=models]').parentElement.previousElementSibling"
    for typed, rows, count in (("Shared GPU-3", ["gpu-3"], "1 of 12 rows"), ("nothing", [], "0 of 12 rows")):
        enter(chromium, f"{section}.querySelector('input')", typed)
        assert column(chromium, "models", 0) == rows
        assert chromium.run(f"return {section}.querySelector('output').textContent") == count
    enter(chromium, f"{section}.querySelector('input')", "")
    assert len(column(chromium, "models", 0)) == 12


def test_long_table_shows_all_rows_on_demand(chromium: Browser, tmp_path: Path) -> None:
    """Of a table of 250 rows 200 are shown first, and all after a click."""
    chromium.open(write(tmp_path, [measured(concurrency=c) for c in range(1, 251)]))
    assert len(column(chromium, "trials", 0)) == 200
    chromium.run("document.querySelector('#model-1 .controls button').click()")
    assert len(column(chromium, "trials", 0)) == 250
    assert chromium.run("return document.querySelector('#model-1 output').textContent") == "250 rows"


def test_names_are_text_everywhere(chromium: Browser, tmp_path: Path) -> None:
    """A name that is a script, markup or a template of plotly.js is shown as written in charts, hovers and tables."""
    placed = gpu(0, model(EVIL, 1000)) | {"id": EVIL, "type": EVIL}
    found = verification(verified_content(0, verified_model(EVIL), gpus=(EVIL,)))
    plan = placement(placed, demand=[{**DEMAND[0], "model": EVIL}])
    chromium.open(write(tmp_path, [measured(EVIL, 2, 4), measured(EVIL)], plan, found, name=EVIL))
    draw_all(chromium)
    assert chromium.run("return typeof hacked") == "undefined"
    assert chromium.run("return document.querySelectorAll('main script:not([type])').length") == 0
    shown = chromium.run(f"return {plot('What the GPUs hold')}.querySelector('.legend').textContent")
    assert EVIL[:15] in shown
    assert EVIL in hover(chromium, "p99 latency over throughput", 0, 0)
    assert f"Model {EVIL}" in hover(chromium, "What the GPUs hold", 2, 0)
    assert column(chromium, "overview", 0) == [EVIL]
    assert chromium.run(UNDRAWN) == []
    assert chromium.console() == []


def test_policy_stops_other_scripts_and_requests(chromium: Browser, tmp_path: Path) -> None:
    """A script that was put into the page does not run, and no picture or data is asked of another host."""
    chromium.open(full_page(tmp_path))
    chromium.run(
        "const s = document.createElement('script'); s.textContent = 'hacked = 1'; document.head.append(s);"
        "const i = new Image(); i.src = 'http://example.org/x.png'; document.body.append(i);"
        "return fetch('http://example.org/').catch(() => 0)"
    )
    assert chromium.run("return typeof hacked") == "undefined"
    refused = "\n".join(chromium.console())
    assert all(rule in refused for rule in ("script-src", "img-src", "connect-src"))


def test_charts_are_saved_but_not_sent(chromium: Browser, tmp_path: Path) -> None:
    """A chart can be saved as a picture under the page's policy; no button sends one to a service."""
    chromium.open(full_page(tmp_path))
    draw_all(chromium)
    picture = chromium.run(f"return Plotly.toImage({plot('Throughput')}, {{format: 'png', width: 400, height: 300}})")
    assert picture.startswith("data:image/png;base64,")
    buttons = chromium.run("return [...document.querySelectorAll('.modebar-btn')].map((each) => each.dataset.title)")
    assert any("ownload" in button for button in buttons)
    assert not any("hare" in button or "loud" in button for button in buttons)
    assert chromium.console() == []


def test_charts_follow_the_light_and_the_dark_style(chromium: Browser, tmp_path: Path) -> None:
    """Charts that are drawn change their text colour with the reader's preference."""
    colors = []
    try:
        for scheme in ("light", "dark"):
            chromium.prefer(scheme)
            if not colors:
                chromium.open(full_page(tmp_path))
                draw_all(chromium)
            chromium.run("return new Promise((done) => setTimeout(done, 300))")
            colors.append(chromium.run(f"return {plot('Throughput')}._fullLayout.font.color"))
    finally:
        chromium.prefer("light")
    assert colors == ["#1b1f24", "#e6e9ec"]  # --ink of page.css


def test_many_models_are_shown_one_at_a_time(chromium: Browser, tmp_path: Path) -> None:
    """Of 8 models one is shown: the first, the one that is chosen, or the one that a link names."""
    page = write(tmp_path, [measured(f"model-{n}", concurrency=c) for n in range(8) for c in (1, 2)])
    shown = "return [...document.querySelectorAll('.models section')].filter((s) => s.offsetParent).map((s) => s.id)"
    chromium.open(page)
    assert chromium.run(shown) == ["model-1"]
    enter(chromium, "document.querySelector('select')", "model-3")
    assert chromium.run(shown) == ["model-3"]
    draw_all(chromium)
    assert chromium.run(UNDRAWN) == []
    chromium.run("document.querySelector('table[data-name=overview] tbody tr:nth-child(5) a').click()")
    chromium.wait("document.querySelector('#model-5').offsetParent")
    assert chromium.run(shown) == ["model-5"]
    assert chromium.run("return document.querySelector('select').value") == "model-5"


def test_large_fleet_is_a_small_page(chromium: Browser, tmp_path: Path) -> None:
    """A page of 1,000 GPUs and 200 models is below 8 MB, and is shown without errors."""
    names = [f"model-{n:03}" for n in range(200)]
    trials = [measured(name, b, c) for name in names for b in (1, 2, 4, 8) for c in (1, 2, 4, 8)]
    # each GPU has two models in sizes of its own, so that no two are the same
    gpus = [gpu(n, *(model(names[(n + k) % 200], 500 + n, replicas=2) for k in (0, 7))) for n in range(1000)]
    page = write(tmp_path, trials, placement(*gpus))
    assert page.stat().st_size < 8_000_000
    chromium.open(page)
    draw_all(chromium)
    assert chromium.run("return document.querySelectorAll('figure.chart .main-svg').length") == 3 * (1 + 5)
    assert chromium.console() == []
