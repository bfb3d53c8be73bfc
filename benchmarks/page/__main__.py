"""`python -m benchmarks.page`: write a page of 200 models and 1,000 GPUs, open it in Chromium, write RESULTS.md."""

from __future__ import annotations

import datetime
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from analyzer.measurements.record import Measurement
from analyzer.measurements.text import by_subject
from benchmarks.profiler.report import Table, busy_share, machine
from planner.placement.document import Placement
from reports.page import render
from tests.builders.browser import Browser, browser
from tests.builders.measurements import SERVER, measured
from tests.builders.placements import gpu, model, placement

RESULTS = Path(__file__).parent / "RESULTS.md"
MODELS, GPUS, OPENED = 200, 1000, 5
PAINT = "return performance.getEntriesByName('first-contentful-paint')[0].startTime / 1e3"
LOAD = "return performance.getEntriesByType('navigation')[0].loadEventEnd / 1e3"
DRAWN = "document.querySelector('figure.chart .main-svg .point')"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--results", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS, show_default=True)
def main(results: Path) -> None:
    """Measure how large the page of a large fleet is, and how soon a browser shows it."""
    busy = busy_share()
    chance = random.Random(0)
    trials, plan = _trials(chance), _plan(chance)
    began = time.perf_counter()
    html = render(trials, [SERVER], dict.fromkeys(by_subject(trials), bytes(60_000)), [("placement.json", plan, [])])
    written_s = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(html, encoding="utf-8")
        size_mb = page.stat().st_size / 1e6
        with browser(Path(folder) / "log") as chromium:
            chromium.resize(1400, 1000)
            opened = [_open(chromium, page) for _ in range(OPENED)]
            console = chromium.console()
    assert not console, console
    rows = [("size", f"{size_mb:.1f} MB"), ("made by `reports`, without the PNG files", f"{written_s:.1f} s")]
    for name, figures in zip(("first paint", "loaded", "first chart drawn"), zip(*opened, strict=True), strict=True):
        rows.append((name, f"{statistics.median(figures):.2f} s ({min(figures):.2f} to {max(figures):.2f})"))
    title = f"{MODELS} models with {len(trials)} trials, {GPUS} GPUs of which no two have the same models"
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"# Results of `python -m benchmarks.page`\n\n{when}; {machine()};"]
    lines.append(f"{busy:.0%} of the processors in use by others before; medians of {OPENED} (lowest to highest).\n\n")
    text = "\n".join(lines) + Table(title=title, header=("", "Figure"), rows=rows).markdown()
    click.echo(text)
    results.write_text(text, encoding="utf-8")


def _trials(chance: random.Random) -> list[Measurement]:
    """Make 30 trials of each model: 5 batch sizes at 6 concurrencies."""
    found = []
    for number in range(MODELS):
        speed = chance.uniform(0.5, 3)
        for batch in (1, 2, 4, 8, 16):
            for concurrency in (1, 2, 4, 8, 16, 32):
                figures: dict[str, Any] = {
                    "throughput_infer_per_s": 300 * speed * batch**0.4 * (1 - 0.6**concurrency),
                    "throughput_ci": 0.03,
                    "latency_p99_s": 0.004 * batch**0.6 * concurrency**0.9 * chance.uniform(1, 1.2),
                    "latency_p99_ci": 0.08,
                    "latency_avg_s": 0.003,
                    "latency_p50_s": 0.003,
                    "power_w": 55.0,
                }
                found.append(replace(measured(f"model_{number:03}", batch, concurrency), **figures))
    return found


def _plan(chance: random.Random) -> Placement:
    """Make GPUs with 3 to 7 models each."""
    gpus = []
    for number in range(GPUS):
        names = chance.sample(range(MODELS), chance.randint(3, 7))
        models = [model(f"model_{n:03}", chance.uniform(500, 2400), chance.uniform(2, 12)) for n in names]
        gpus.append(gpu(number, *models))
    demand = [{"model": f"model_{n:03}", "rate_infer_per_s": 100.0, "latency_p99_ms": 60} for n in range(MODELS)]
    return placement(*gpus, demand=demand)


def _open(chromium: Browser, page: Path) -> tuple[float, float, float]:
    """Open the page; return when it was first shown, when it was loaded, and when its first chart was drawn."""
    chromium.open(page)
    chromium.wait(DRAWN)
    drawn_s = chromium.run("return performance.now() / 1e3")
    return chromium.run(PAINT), chromium.run(LOAD), drawn_s


if __name__ == "__main__":
    main()
