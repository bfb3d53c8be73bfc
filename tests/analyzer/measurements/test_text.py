"""Measurements as tables."""

from __future__ import annotations

from dataclasses import replace

from analyzer.measurements.record import Status, Trial, Variant
from analyzer.measurements.text import by_subject, measurement_table, server_only_table
from tests.builders.measurements import HOST, SERVER, failed, measured


def test_table_has_one_row_a_trial_under_titles_and_units() -> None:
    """Every trial is a row; the figures are in the units of the heading."""
    # 4 in flight: 4 x 100 infer/s, 4 x 10 ms; 1461 MiB less the server's 309
    assert measurement_table([measured(concurrency=4)]).splitlines() == [
        "chest on Tesla T4",
        "                                              Max memory      Max GPU  Max GPU",
        "Batch  Concurrency  Throughput  p99 latency  utilization  utilization   memory  Model's own",
        "                       infer/s           ms            %            %      MiB          MiB",
        "    1            4         400         40.0          1.0           23     1461         1152",
    ]


def test_failed_trial_keeps_its_row_and_cause() -> None:
    """A failed trial is a row of dashes with status and cause, not a gap."""
    row = measurement_table([measured(), failed(batch=4)]).splitlines()[-1]
    assert row.split()[:4] == ["4", "1", "-", "-"]
    assert row.endswith("out of memory: no memory")


def test_causes_stay_short_in_the_table() -> None:
    """An unsettled row holds its status alone, a failed one the beginning of its cause: 60 characters at most."""
    unsettled = measurement_table([measured(), measured(batch=2, status=Status.UNSETTLED)]).splitlines()[-1]
    assert unsettled.endswith("unsettled")
    row = measurement_table([failed(cause="no memory " * 30)]).splitlines()[-1]
    cause = row.partition("out of memory: ")[2]
    assert cause.startswith("no memory no memory")
    assert cause.endswith("…")
    assert len(cause) <= 60


def test_rates_with_constant_arrivals_are_a_table_of_their_own() -> None:
    """Poisson arrivals queue more: the two are never one table."""
    trials = [Trial(model="m", concurrency=0, request_rate_per_s=50.0, arrivals=a) for a in ("poisson", "constant")]
    groups = by_subject([replace(measured(), trial=trial) for trial in trials])
    assert [subject.title for subject in groups] == ["m", "m (constant arrivals)"]


def test_columns_unknown_throughout_are_left_out() -> None:
    """A host reports no memory utilization, and says CPU where a GPU's table says GPU."""
    text = measurement_table([measured(provenance=HOST, memory_utilization=None)])
    heading = " ".join(text.split())
    assert "Max memory utilization" not in heading
    assert text.count("utilization") == 1
    assert "CPU" in heading


def test_subjects_are_told_apart_by_configuration_and_device() -> None:
    """A variant, and another device, are tables of their own; rows are sorted by batch and load."""
    trials = [
        measured(batch=2),
        measured(batch=1, concurrency=2),
        measured(batch=1),
        measured(variant=Variant(instances=2)),
        measured(provenance=HOST),
    ]
    groups = by_subject(trials)
    assert [subject.title for subject in groups] == ["chest", "chest (instances=2)", "chest"]
    first = next(iter(groups.values()))
    assert [(m.trial.batch, m.trial.concurrency) for m in first] == [(1, 1), (1, 2), (2, 1)]


def test_name_with_control_characters_cannot_break_the_table() -> None:
    """A model's name is one line of printable text."""
    assert measurement_table([measured(model="a\n\x1b[2Jb")]).splitlines()[0] == "a  [2Jb on Tesla T4"


def test_server_only_table_leaves_out_what_is_unknown() -> None:
    """The idle server's memory is shown in MiB; a figure that the device refuses has no column."""
    text = server_only_table([SERVER])
    assert "309" in text.splitlines()[-1]
    assert text.count("utilization") == 1
