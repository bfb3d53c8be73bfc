"""What a search was after, in one line for people."""

from __future__ import annotations

from analyzer.formats.units import milliseconds, number, printable
from analyzer.measurements.record import Variant
from analyzer.search import SearchResult


def search_result_line(answer: SearchResult) -> str:
    """Say what a search found, in one line."""
    about = answer.about
    variant = "" if about.variant == Variant() else f" ({about.variant.name})"
    batch = f" at batch {about.batch}" if answer.sought != "instances" else ""
    of = printable(f"{answer.sought.capitalize()} of {about.model}{variant}{batch}")
    if answer.found is None:
        return f"{of}: none, {printable(answer.why)}"
    trial, found = answer.found.trial, answer.found
    rate = trial.request_rate_per_s
    pace = f"concurrency {trial.concurrency}" if rate is None else f"{rate:g} requests/s"
    if not batch:
        pace = f"{found.instances} at batch {trial.batch}, {pace}"
    figures = f"{number(found.throughput_infer_per_s)} infer/s, p99 {milliseconds(found.latency_p99_s)} ms"
    return f"{of}: {pace}, {figures}" + (f" ({printable(answer.why)})" if answer.why else "")
