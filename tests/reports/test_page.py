"""Test the report's page: complete, escaped, and without anything from other files or hosts."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html.parser import HTMLParser

from analyzer.measurements.record import Measurement, Status
from analyzer.measurements.text import by_subject
from planner.placement.document import Placement
from reports.page import render
from tests.builders.measurements import HOST, SERVER, failed, measured
from tests.builders.placements import gpu, model, placement

PNG = b"\x89PNG a picture"


class Page(HTMLParser):
    """The elements with their attributes, and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Record text."""
        self.text += data


def page(measurements: Sequence[Measurement], placements: Sequence[tuple[str, Placement, list[bytes]]] = ()) -> str:
    """Render a page with the same picture for every subject."""
    return render(measurements, [SERVER], dict.fromkeys(by_subject(measurements), PNG), placements)


def test_page_loads_nothing_from_elsewhere() -> None:
    """The page has no script and no link to another file or host; pictures are embedded."""
    html = page([measured(), failed()], [("p.json", placement(gpu(0, model("a", 1))), [PNG])])
    found = Page(html)
    assert not [tag for tag, _ in found.elements if tag in ("script", "link", "iframe", "object", "form")]
    addresses = [attrs[key] or "" for _, attrs in found.elements for key in ("src", "href", "action") if key in attrs]
    assert addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


def test_names_are_escaped_everywhere() -> None:
    """Any text of a record is escaped: model, cause, device, GPU, reason and file name."""
    evil = "<script>alert(1)</script>\"'&"
    placed = gpu(0, model(evil, 1)) | {"id": evil, "type": evil}
    plan = placement(placed, unplaced=[{"name": evil, "reason": evil}], status="feasible")
    html = page([measured(model=evil), failed(model=evil, cause=evil)], [(evil, plan, [PNG])])
    found = Page(html)
    assert "script" not in {tag for tag, _ in found.elements}
    assert found.text.count("<script>alert(1)</script>") >= 8
    assert all(evil not in key for _, attrs in found.elements for key in attrs)


def test_pictures_are_embedded_with_alternative_text() -> None:
    """Each picture is a data URI with an alternative text."""
    html = page([measured()], [("p.json", placement(gpu(0, model("a", 1))), [PNG, PNG])])
    images = [attrs for tag, attrs in Page(html).elements if tag == "img"]
    assert len(images) == 3  # two of the placement, one of the model
    for image in images:
        assert base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,")) == PNG
        assert image["alt"]


def test_links_have_targets_on_the_page() -> None:
    """Every entry of the table of contents has its section."""
    found = Page(page([measured(), failed()], [("p.json", placement(gpu(0, model("a", 1))), [PNG])]))
    targets = {attrs["id"] for _, attrs in found.elements if "id" in attrs}
    links = {(attrs["href"] or "")[1:] for tag, attrs in found.elements if tag == "a"}
    assert links
    assert links <= targets


def test_failed_trials_are_listed_with_their_cause() -> None:
    """Failed trials are counted at the top, and listed with their cause."""
    text = Page(page([measured(), failed(cause="CUDA out of memory")])).text
    assert "2 trials: 1 ok, 1 out of memory" in text
    assert "out of memory: CUDA out of memory" in text
    assert "Failed trials" in text


def test_unknown_figures_are_dashes() -> None:
    """An unmeasured figure beside a measured one is a dash, never 0."""
    html = page([measured(), measured(concurrency=2, memory_utilization=None)])
    # the last row with a throughput of 200 infer/s; one of the overview comes before it
    row = [row for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL) if ">200<" in row][-1]
    assert row.count("\N{EN DASH}") == 1  # its memory utilization; a figure that no trial has is no column


def test_page_without_contents_says_so() -> None:
    """Without trials and with an empty plan the page is complete and says what is missing."""
    plan = placement(status="infeasible", unplaced=[{"name": "huge", "reason": "huge fits no GPU"}])
    text = Page(render([], [], {}, [("p.json", plan, [])])).text
    assert "No trial was measured" in text
    assert "This plan uses no GPU" in text
    assert "huge fits no GPU" in text


def test_header_names_every_source_once() -> None:
    """The header names device, driver, server and version, each value once."""
    html = page([measured(), measured(concurrency=2), measured(provenance=HOST, status=Status.UNSETTLED)])
    head = html[html.index("<header>") : html.index("<nav")]
    assert "Tesla T4, 15095 MiB; EPYC, 8192 MiB" in head
    assert head.count("550.54.15") == head.count("2.51.0") == head.count("0.1.0") == 1


def test_same_records_make_the_same_page() -> None:
    """The page holds no time stamp."""
    assert page([measured()]) == page([measured()])
