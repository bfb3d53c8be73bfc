"""Test the tables of measurements on the screen."""

from __future__ import annotations

from dataclasses import replace

from analyzer.measurements.record import Status, Trial, Variant
from analyzer.measurements.text import by_subject, measurement_table, server_only_table, trial_name
from tests.builders.measurements import HOST, SERVER, failed, measured, streamed


def test_table_has_one_row_per_trial_with_titles_and_units() -> None:
    """Each trial is a row; its figures are in the units that the heading names."""
    # 4 in flight: 4 x 100 infer/s, 4 x 10 ms; 1461 MiB minus the server's 309
    assert measurement_table([measured(concurrency=4)]).splitlines() == [
        "chest on Tesla T4",
        "                                              Max memory      Max GPU  Max GPU",
        "Batch  Concurrency  Throughput  p99 latency  utilization  utilization   memory  Model's own",
        "                       infer/s           ms            %            %      MiB          MiB",
        "    1            4         400         40.0          1.0           23     1461         1152",
    ]


def test_failed_trial_keeps_its_row_and_cause() -> None:
    """A failed trial is a row with dashes, its status and its cause."""
    row = measurement_table([measured(), failed(batch=4)]).splitlines()[-1]
    assert row.split()[:4] == ["4", "1", "-", "-"]
    assert row.endswith("out of memory: no memory")


def test_causes_stay_short_in_the_table() -> None:
    """An unsettled row shows only its status, a failed one at most 60 characters of its cause."""
    unsettled = measurement_table([measured(), measured(batch=2, status=Status.UNSETTLED)]).splitlines()[-1]
    assert unsettled.endswith("unsettled")
    row = measurement_table([failed(cause="no memory " * 30)]).splitlines()[-1]
    cause = row.partition("out of memory: ")[2]
    assert cause.startswith("no memory no memory")
    assert cause.endswith("…")
    assert len(cause) <= 60


def test_rates_with_constant_arrivals_are_a_table_of_their_own() -> None:
    """Poisson and constant arrivals are never in one table, because Poisson arrivals queue more."""
    trials = [Trial(model="m", concurrency=0, request_rate_per_s=50.0, arrivals=a) for a in ("poisson", "constant")]
    groups = by_subject([replace(measured(), trial=trial) for trial in trials])
    assert [subject.title for subject in groups] == ["m", "m (constant arrivals)"]


def test_columns_unknown_throughout_are_left_out() -> None:
    """A host's table has no memory utilization, and says CPU instead of GPU."""
    text = measurement_table([measured(provenance=HOST, memory_utilization=None)])
    heading = " ".join(text.split())
    assert "Max memory utilization" not in heading
    assert text.count("utilization") == 1
    assert "CPU" in heading


def test_tables_are_separate_by_variant_and_device() -> None:
    """Each variant and each device has its own table; rows are sorted by batch and concurrency."""
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
    """Control characters in a model's name are replaced, so that it stays on one line."""
    assert measurement_table([measured(model="a\n\x1b[2Jb")]).splitlines()[0] == "a  [2Jb on Tesla T4"


def test_server_only_table_leaves_out_what_is_unknown() -> None:
    """The idle server's memory is shown in MiB; a figure that the device refuses has no column."""
    text = server_only_table([SERVER])
    assert "309" in text.splitlines()[-1]
    assert text.count("utilization") == 1


def test_language_models_have_lengths_and_figures_of_tokens() -> None:
    """Lengths asked and tokens counted, tokens/s, TTFT and ITL; the reserved memory is marked."""
    *_, row = measurement_table([streamed(2)]).splitlines()
    # 2 x 64 tokens/s, 2 x 110 ms
    assert row.split() == (
        [
            "1",
            "2",
            "32",
            "34.0",
            "16",
            "16.0",
            "200",
            "128",
            "2.5",
            "220",
            "3.0",
            "13.0",
            "5.0",
            "20.0",
            "1.0",
            "23",
            "1461",
            "1152",
            "reserved",
        ]
    )
    text = measurement_table([streamed(2)])
    assert "p99 ITL" in text
    assert "responses" not in text


def test_streams_without_tokens_have_figures_of_responses() -> None:
    """Where no tokens are reported, no heading says tokens."""
    text = measurement_table([streamed(2, tokens=False, input_length=None, output_length=None)])
    assert "tokens" not in text
    assert "TTFT" not in text
    assert "reserved" not in text
    *_, row = text.splitlines()
    assert row.split() == [
        "1",
        "2",
        "200",
        "120",
        "2.0",
        "220",
        "3.0",
        "12.0",
        "4.0",
        "20.0",
        "1.0",
        "23",
        "1461",
        "1152",
    ]


def test_rows_are_in_the_order_of_their_lengths() -> None:
    """At one batch the shorter prompts come first, then the lower load."""
    trials = [streamed(2, input_length=8), streamed(1, input_length=64), streamed(1, input_length=8)]
    (group,) = by_subject(trials).values()
    assert [(m.trial.input_length, m.trial.concurrency) for m in group] == [(8, 1), (8, 2), (64, 1)]
    assert trial_name(group[0].trial) == "llm batch 1 input 8 output 16 concurrency 1"
