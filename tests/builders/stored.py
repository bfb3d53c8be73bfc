"""Records for the tests of stores, and a program that fills a store."""

from __future__ import annotations

from dataclasses import fields, replace

from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant
from analyzer.measurements.sql_rows import columns
from analyzer.measurements.stream_figures import StreamFigures

HOST = Provenance(
    device_name="Tesla T4",
    device_uuid="GPU-1",
    device_memory_bytes=15 << 30,
    driver=None,
    server="2.51.0",
    tool_version="0.1.0",
    model_hash="a" * 64,
)
TRIAL = Trial(model="chest", variant=Variant(instances=2, dynamic_batching=False), batch=4)
DONE = Measurement(
    trial=TRIAL,
    provenance=HOST,
    status=Status.OK,
    throughput_infer_per_s=172.4,
    max_memory_bytes=80 << 30,  # does not fit in 32 bits
    max_utilization=0.56,
    requests=1724,
)
BASELINE = ServerOnly(provenance=HOST, memory_bytes=309 << 20, max_utilization=None, max_memory_utilization=0.0)


def full_record() -> Measurement:
    """Make a measurement with a different figure in every column."""
    hints = {column.name: column.kind for column in columns(Measurement) if column.optional}
    own = [name for name in hints if name in Measurement.__dataclass_fields__]
    stream = StreamFigures(**{field.name: index / 8 for index, field in enumerate(fields(StreamFigures))})
    return replace(DONE, stream=stream, **{name: hints[name](index + 2) for index, name in enumerate(own)})


APPEND_100 = """
import sys
from dataclasses import replace
from analyzer.measurements.store import Store
from tests.builders.stored import DONE, TRIAL
with Store.open(sys.argv[1]) as store:
    for batch in range(100):
        store.append(replace(DONE, trial=replace(TRIAL, model=sys.argv[2], batch=batch)))
"""
