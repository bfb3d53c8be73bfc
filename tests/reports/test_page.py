"""Test the report's page: complete, escaped, and without anything from other files or hosts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Sequence
from html.parser import HTMLParser

from analyzer.measurements.record import Measurement, Status
from analyzer.measurements.text import by_subject
from planner.placement.document import Placement
from planner.placement.file import sha256
from planner.verification.document import Control, NotTried, Verdict, Verification
from reports.page import render
from reports.plotly_script import plotly_script
from tests.builders.measurements import HOST, SERVER, failed, measured
from tests.builders.placements import gpu, model, placement
from tests.builders.verifications import verification, verified_content, verified_model

PNG = b"\x89PNG a picture"


class Page(HTMLParser):
    """The elements with their attributes, the text, and the contents of the scripts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        """Record text, or a part of a script."""
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        return next(attrs["content"] or "" for tag, attrs in self.elements if tag == "meta" and "http-equiv" in attrs)

    def code(self) -> list[str]:
        """Return the scripts that run."""
        types = [attrs.get("type") for tag, attrs in self.elements if tag == "script"]
        return [script for script, kind in zip(self.scripts, types, strict=True) if kind is None]


def page(measurements: Sequence[Measurement], placements: Sequence[tuple[str, Placement, list[bytes]]] = ()) -> str:
    """Render a page with the same picture for every subject."""
    return render(measurements, [SERVER], dict.fromkeys(by_subject(measurements), PNG), placements)


def verified_page(found: Verification, *placements: tuple[str, Placement, list[bytes]]) -> str:
    """Render a page with a verification."""
    return render([], [], {}, placements, [("v.json", found, [PNG])])


def test_page_loads_nothing_from_elsewhere() -> None:
    """The page has no link to another file or host; scripts and pictures are embedded."""
    html = page([measured(), failed()], [("p.json", placement(gpu(0, model("a", 1))), [PNG])])
    found = Page(html)
    assert not [tag for tag, _ in found.elements if tag in ("link", "iframe", "object", "form")]
    addresses = [attrs[key] or "" for _, attrs in found.elements for key in ("src", "href", "action") if key in attrs]
    assert addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", html)
    assert found.policy.startswith("default-src 'none'; script-src 'sha256-")


def test_only_the_two_scripts_of_the_page_may_run() -> None:
    """The policy has the hash of the page's own script and that of plotly.js, and no other source of scripts."""
    found = Page(page([measured()]))
    (own,) = found.code()
    (packed,) = [script for script in found.scripts if script.startswith("H4sI")]  # gzip in base64
    plotly = gzip.decompress(base64.b64decode(packed))
    assert plotly == plotly_script().encode()
    hashes = [base64.b64encode(hashlib.sha256(code).digest()).decode() for code in (own.encode(), plotly)]
    rules = [rule.split() for rule in found.policy.split("; ")]
    assert ["script-src", *(f"'sha256-{digest}'" for digest in hashes)] in rules
    assert ["img-src", "data:", "blob:"] in rules


def test_names_are_escaped_everywhere() -> None:
    """Any text of a record is escaped: model, cause, device, GPU, reason and file name."""
    evil = "<script>alert(1)</script>\"'&"
    placed = gpu(0, model(evil, 1)) | {"id": evil, "type": evil}
    plan = placement(placed, unplaced=[{"name": evil, "reason": evil}], status="feasible")
    html = page([measured(model=evil), failed(model=evil, cause=evil)], [(evil, plan, [PNG])])
    found = Page(html)
    assert len(found.code()) == 1
    assert not any("<" in script for script in found.scripts if script.startswith("{"))  # in charts it is \\u003c
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


def test_many_pictures_are_left_out() -> None:
    """Pictures of more than 2 MiB in all are left out; the page then names the PNG files to readers without scripts."""
    plan = placement(gpu(0, model("a", 1)))
    html = page([measured()], [("p.json", plan, [bytes(2 * 1024**2)])])
    assert "img" not in {tag for tag, _ in Page(html).elements}
    assert "the charts are the PNG files beside this page" in html
    assert "the charts are pictures" in page([measured()], [("p.json", plan, [PNG])])


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
    row = [row for row in re.split(r"<tr>|</tbody>", html) if ">200<" in row][-1]
    assert row.count("\N{EN DASH}") == 1  # its memory utilization; a figure that no trial has is no column


def test_planned_rate_is_shown_where_there_is_one() -> None:
    """A model's planned rate stands beside its throughput; a plan without rates has no such column."""
    without = page([], [("p", placement(gpu(0, model("a", 1000))), [])])
    rated = page([], [("p", placement(gpu(0, model("a", 1000, rate_infer_per_s=37.5), model("b", 1000))), [])])
    assert "Planned rate" not in without
    assert "Planned rate" in rated
    assert "<td>37.5<td>100<td>" in rated  # 100.5 infer/s, as tables write it
    assert "<td>\N{EN DASH}<td>100<td>" in rated


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


def test_verification_says_whether_the_plan_holds() -> None:
    """The section has the verdict as a sentence, each model's verdict as a coloured word, and what is to be known."""
    late = verified_model("late", 1.6, verdict=Verdict.MISSES, cause="its p99 is 16 ms, and 13 ms are allowed")
    drifted = Control(
        model="other",
        batch=1,
        concurrency=2,
        profiled_infer_per_s=80.0,
        profiled_half_width_infer_per_s=1.0,
        measured_infer_per_s=70.0,
        measured_half_width_infer_per_s=1.0,
        drifted=True,
    )
    html = verified_page(
        verification(
            verified_content(0, verified_model("fine"), late),
            verified_content(1, verified_model("other"), control=drifted),
            not_tried=(NotTried(gpus=("gpu-7",), reason="it has slices"),),
        )
    )
    text = Page(html).text
    assert "The plan does not hold on 1 GPU: 2 GPUs in 2 contents measured; 1 GPU not tried." in text
    assert html.count('<span class="misses">misses</span>') == 2  # of the model and of its GPU
    assert html.count('<span class="holds">holds</span>') == 3
    assert "gpu-0, late: its p99 is 16 ms, and 13 ms are allowed" in text
    assert "other alone delivers 70.0 ±1.00 infer/s" in text
    assert "not tried: gpu-7: it has slices" in text
    assert "9000 → 9100 of 14746" in text


def test_model_named_as_a_verdict_is_not_coloured() -> None:
    """Only the column of verdicts is coloured, not a model that is called like one."""
    html = verified_page(verification(verified_content(0, verified_model("misses"))))
    assert "misses" in Page(html).text
    assert 'class="misses"' not in html


def test_verification_names_the_plan_that_it_is_of() -> None:
    """A placement on the page is named where the hash is its own; otherwise the hash is shown."""
    plan = placement(gpu(0, model("a", 1)))
    content = verified_content(0, verified_model("a"))
    shown = ("p.json", plan, [PNG])
    assert "<dt>Plan</dt><dd>p.json</dd>" in verified_page(verification(content, placement_sha256=sha256(plan)), shown)
    assert f"SHA-256 {'0' * 64}, not on this page" in verified_page(verification(content), shown)


def test_range_without_bound_is_not_shown_as_exact() -> None:
    """A p99 that grows without bound with the margin is "or more"; without a margin it is a figure alone."""
    unbounded = verified_model("a", most_p99_s=None)
    exact = verified_model("b", most_p99_s=0.011)
    html = verified_page(verification(verified_content(0, unbounded, exact)))
    assert ">11.0 or more<" in html
    assert ">11.0<" in html


def test_hostile_names_of_a_verification_are_escaped() -> None:
    """Names, causes and reasons of a verification are text on the page."""
    evil = "<script>alert(1)</script>\"'&"
    failed_model = verified_model(evil, verdict=Verdict.MISSES, cause=evil)
    content = verified_content(0, failed_model, gpus=(evil,), device=evil, cause=evil)
    found = verification(content, not_tried=(NotTried(gpus=(evil,), reason=evil),))
    html = render([], [], {}, [], [(evil, found, [PNG])])
    parsed = Page(html)
    assert len(parsed.code()) == 1
    assert parsed.text.count("<script>alert(1)</script>") >= 8
    assert not re.search(r"https?://|url\(|@import", html)
    targets = {attrs["id"] for _, attrs in parsed.elements if "id" in attrs}
    assert "verification-1" in targets


def test_verification_of_nothing_says_so() -> None:
    """Where nothing was measured the section says it and why, without empty tables."""
    html = verified_page(verification(not_tried=(NotTried(gpus=("gpu-0",), reason="it has slices"),)))
    text = Page(html).text
    assert "Nothing of the plan was measured." in text
    assert "not tried: gpu-0: it has slices" in text
    assert "Models, measured beside each other" not in text
