"""Test how the benchmark of verifications judges, compares and reports, on contents that are made up."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from analyzer.measurements.record import Measurement, Trial
from analyzer.models.repository import read_repository
from benchmarks.verification.__main__ import report
from benchmarks.verification.contents import MODELS, SHARES, contents
from benchmarks.verification.evaluate import Case, errors_of, mean_and_p90, training_pairs, ways
from benchmarks.verification.measure import REPOSITORY, Measured, key_of
from planner.interference.fitted import Interference
from planner.verification.document import Verdict
from tests.builders.measurements import MIB, measured

CAPACITY = 100.0


def at_rate(name: str, rate: float, *, served: float, p99_s: float, memory_mib: float) -> Measurement:
    """Make the measurement of a model that is sent a rate, beside a server of 309 MiB."""
    trial = Trial(model=name, batch=1, concurrency=0, request_rate_per_s=rate)
    figures = measured(name, memory_mib=memory_mib)
    return replace(
        figures,
        trial=trial,
        throughput_infer_per_s=served,
        throughput_ci=0.01,
        latency_p99_s=p99_s,
        latency_p99_ci=0.05,
        window_s=10.0,
    )


def case(names: tuple[str, ...], *, slow_down: float, served: float = 40.0, p99_s: float = 0.02) -> Case:
    """Make a content whose models, busy for 40 % of the time alone, have the same slow-down, rate of 40/s and p99."""
    together = CoLocation(
        models=tuple(
            CoLocatedModel(
                measurement=at_rate(name, 40.0, served=served, p99_s=p99_s, memory_mib=309 + 100 * len(names)),
                busy_share=0.4,
                slow_down=slow_down,
            )
            for name in names
        )
    )
    return Case(
        key="+".join(names),
        brief=together,
        long=together,
        alone=tuple(at_rate(name, 40.0, served=40.0, p99_s=0.01, memory_mib=409) for name in names),
        capacities=(CAPACITY,) * len(names),
        server_bytes=309 * MIB,
    )


def test_contents_are_all_subsets_of_two_to_four_models_at_a_rate() -> None:
    """Five models have 10 pairs, 10 triples and 5 quadruples; the pairs come first, and a seed gives the same again."""
    capacities = dict.fromkeys(MODELS, CAPACITY)
    found = contents(capacities)
    assert len(found) == 25
    assert len({tuple(load.trial.model for load in loads) for loads in found}) == 25
    assert [len(loads) for loads in found[:10]] == [2] * 10
    rates = {load.trial.request_rate_per_s for loads in found for load in loads}
    assert rates == {share * CAPACITY for share in SHARES}
    assert contents(capacities) == found


@pytest.mark.parametrize(
    ("served", "p99_s", "verdict"),
    [
        (40.0, 0.02, Verdict.HOLDS),  # twice the p99 alone: 3 times are allowed
        (36.0, 0.02, Verdict.MISSES),  # 90 % of the rate, ± 1 %
        (40.0, 0.04, Verdict.MISSES),  # 4 times the p99 alone, ± 5 %
        (40.0, 0.0295, Verdict.WITHIN_NOISE),  # 28 to 31 ms, and 30 are allowed
    ],
)
def test_verdict_is_that_of_the_rates_and_of_the_p99(served: float, p99_s: float, verdict: Verdict) -> None:
    """A content misses where a rate is not served or a p99 is above its budget."""
    one = case(MODELS[:2], slow_down=1.0, served=served, p99_s=p99_s)
    assert one.verdict(one.long) is verdict


def test_errors_of_sums_are_those_worked_out_by_hand() -> None:
    """Three models busy for 40 % each: the sum predicts 1.2; measured was 1.5, and the p99 20 ms.

    The error is 1 - 1.2 / 1.5 = 20 %. With a load of 0.4 alone the p99 is predicted as
    10 ms x 1.2 x 0.6 / (1 - 0.48) = 13.85 ms, which is 30.8 % less than 20 ms.
    """
    found = errors_of([case(MODELS[:3], slow_down=1.5)], lambda _: Interference.uncalibrated("Tesla T4"))
    assert found.slow_down == pytest.approx((0.2,) * 3)
    assert found.p99 == pytest.approx((0.3077,) * 3, abs=1e-4)
    assert found.under is None
    assert mean_and_p90(found.slow_down) == pytest.approx((0.2, 0.2))
    assert mean_and_p90([]) is None


def test_memory_is_the_sum_of_the_models_alone() -> None:
    """Two models of 100 MiB each and a server of 309 MiB are 509 MiB, also if the server kept 20 MiB of the first.

    These 20 MiB once counted twice: in the first model's figure and in the server's.
    """
    found = case(MODELS[:2], slow_down=1.0)
    assert found.memory == (509 * MIB, 509 * MIB)
    used = tuple(
        replace(model, measurement=replace(model.measurement, server_memory_bytes=329 * MIB))
        for model in found.long.models
    )
    assert replace(found, long=CoLocation(models=used)).memory == (509 * MIB, 509 * MIB)


def test_two_models_that_keep_a_core_busy_are_one_file() -> None:
    """They differ in their names only; there once were two copies of the file."""
    files = {(REPOSITORY / name / "1" / "model.py").resolve() for name in ("core_a", "core_b")}
    assert len(files) == 1
    assert all(model.error == "" for model in read_repository(REPOSITORY))


def test_fits_are_not_shown_what_they_predict() -> None:
    """(b) rests on two pairs of each of the five models, five pairs; (c) on all contents but the predicted one."""
    every = [case(names, slow_down=1.0 + 0.2 * len(names)) for n in (2, 3, 4) for names in combinations(MODELS, n)]
    assert len(training_pairs(every)) == 5
    sums, pairs, round_of_verify = ways(every, "Tesla T4").values()
    assert sums(every[-1]).contents == 0
    assert pairs(every[-1]).contents == 5
    assert round_of_verify(every[-1]).contents == 24


def test_report_says_how_much_was_measured() -> None:
    """Without a content it says so and has no table."""
    text = report(Measured(capacities={}, alone={}, brief={}, long={}, planned=25))
    assert "0 of 25 contents were measured both ways" in text
    assert "|" not in text


def test_report_counts_verdicts_that_agree() -> None:
    """One of two contents misses for long and held briefly: 1 of 2 agree, and one miss is counted."""
    held = case(MODELS[:2], slow_down=1.0)
    missed = case(MODELS[1:3], slow_down=1.0, served=30.0)
    cases = {one.key: one for one in (held, missed)}
    text = report(
        Measured(
            capacities=dict.fromkeys(MODELS, CAPACITY),
            alone={key_of([m.trial]): m for one in cases.values() for m in one.alone},
            brief={key: case(one.content.models, slow_down=1.0).brief for key, one in cases.items()},
            long={key: one.long for key, one in cases.items()},
            planned=25,
        )
    )
    assert "1 of 2 (50%) agree" in text
    assert "| misses       | 0     | 1    |" in text
