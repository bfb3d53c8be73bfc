"""Write the result of a search in one line for people."""

from __future__ import annotations

from analyzer.formats.units import milliseconds, number, printable
from analyzer.measurements.record import Variant
from analyzer.measurements.text import lengths_of
from analyzer.search import SearchResult


def search_result_line(result: SearchResult) -> str:
    """Say what a search found, in one line."""
    about = result.about
    variant = "" if about.variant == Variant() else f" ({about.variant.name})"
    batch = " ".join(["", f"at batch {about.batch}", *lengths_of(about)]) if result.sought != "instances" else ""
    of = printable(f"{result.sought.capitalize()} of {about.model}{variant}{batch}")
    if result.found is None:
        return f"{of}: none, {printable(result.why)}"
    trial, found = result.found.trial, result.found
    rate = trial.request_rate_per_s
    pace = f"concurrency {trial.concurrency}" if rate is None else f"{rate:g} requests/s"
    if not batch:
        pace = f"{found.instances} at batch {trial.batch}, {pace}"
    figures = f"{number(found.throughput_infer_per_s)} infer/s, p99 {milliseconds(found.latency_p99_s)} ms"
    return f"{of}: {pace}, {figures}" + (f" ({printable(result.why)})" if result.why else "")
