"""Test predictions, and that the solver's rows say the same as the formula."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planner.interference.content import Content, Member
from planner.interference.fitted import Interference, ModelCost
from planner.interference.limits import is_legal, rows
from planner.interference.predict import linear_slow_downs, predict

PARTS = st.floats(0, 0.5).map(lambda value: round(value, 3))


@st.composite
def fits(draw: st.DrawFn) -> Interference:
    """Draw a fit of the models a, b and c, as a fit from measurements can be."""
    constant = draw(PARTS) - 0.2
    costs = tuple(
        ModelCost(
            model=model,
            sensitivity=draw(PARTS) - 0.2,
            pressure=draw(PARTS),
            sensitivity_error=None,
            pressure_error=None,
            contents=3,
        )
        for model in "abc"
    )
    fit = Interference.uncalibrated("GPU")
    margin = draw(st.floats(0.9, 2))
    return replace(fit, constant=constant, models=costs, margin=margin, calibrated=True, ratio_p10=0.9)


MEMBERS = st.builds(Member, model=st.sampled_from("abcd"), busy_share=PARTS)
CONTENTS = st.builds(
    Content,
    device=st.just("GPU"),
    members=st.lists(MEMBERS, min_size=1, max_size=5).map(tuple),
    shared=st.booleans(),
)


@given(fits(), CONTENTS, st.data())
def test_rows_say_what_the_formula_says(fit: Interference, content: Content, data: st.DataObject) -> None:
    """The rows hold for a content exactly where every member's upper slow-down is at most what it tolerates."""
    tolerated = [data.draw(st.floats(1, 4)) for _ in content.members]
    upper = [prediction.upper for prediction in predict(fit, content)]
    assume(all(abs(u - t) > 1e-9 for u, t in zip(upper, tolerated, strict=True)))
    members = [
        rows(fit, member, most, shared=content.shared) for member, most in zip(content.members, tolerated, strict=True)
    ]
    assert is_legal(members) == all(u <= t for u, t in zip(upper, tolerated, strict=True))


@given(fits(), CONTENTS, MEMBERS)
def test_more_company_never_predicts_less(fit: Interference, content: Content, more: Member) -> None:
    """Adding a member never lowers a prediction of another, nor its lower or upper value; removing never raises one."""
    before = predict(fit, content)
    after = predict(fit, replace(content, members=(*content.members, more)))
    for less, greater in zip(before, after, strict=False):
        assert less.slow_down <= greater.slow_down + 1e-12
        assert less.lower <= greater.lower + 1e-12
        assert less.upper <= greater.upper + 1e-12


@given(fits(), CONTENTS)
def test_prediction_is_within_its_interval(fit: Interference, content: Content) -> None:
    """1 <= lower <= slow-down, and slow-down <= upper where the margin is at least 1."""
    for prediction in predict(replace(fit, margin=max(1.0, fit.margin)), content):
        assert 1 <= prediction.lower <= prediction.slow_down <= prediction.upper


def example() -> Interference:
    """Return a fit with round figures."""
    cost = ModelCost(model="a", sensitivity=0.1, pressure=0.2, sensitivity_error=None, pressure_error=None, contents=5)
    models = (cost, replace(cost, model="b", sensitivity=-0.05, pressure=0.3))
    fit = replace(Interference.uncalibrated("GPU"), constant=0.1, models=models, margin=1.1, ratio_p10=0.8)
    return replace(fit, calibrated=True)


def test_prediction_follows_the_formula() -> None:
    """Two of a and one of b take 1.2 of the time: a 1.2 + 0.1 + 0.1 + 0.2 + 0.3 = 1.9, b 1.2 + 0.1 - 0.05 + 0.4."""
    a, b = Member(model="a", busy_share=0.3), Member(model="b", busy_share=0.6)
    first, second, third = predict(example(), Content(device="GPU", members=(a, a, b)))
    assert first == second
    assert (first.slow_down, third.slow_down) == pytest.approx((1.9, 1.65))
    assert (first.lower, first.upper) == pytest.approx((1.9 * 0.8, 1.9 * 1.1))
    under_mps = predict(example(), Content(device="GPU", members=(a, a, b), shared=False))
    assert under_mps[0].slow_down == pytest.approx(1.7)  # 0.2 less, as the first term is 1


def test_member_alone_is_as_measured() -> None:
    """Alone nothing is slower, whatever constant, sensitivity and margin are, and no row forbids it."""
    (prediction,) = predict(example(), Content(device="GPU", members=(Member(model="a", busy_share=0.9),)))
    assert (prediction.lower, prediction.slow_down, prediction.upper, prediction.known) == (1, 1, 1, True)
    assert is_legal([rows(example(), Member(model="a", busy_share=0.9), 1.0, shared=True)])


def test_model_that_was_never_measured_is_said() -> None:
    """It has sensitivity and pressure 0, and no prediction of its content counts as known."""
    a, unseen = Member(model="a", busy_share=0.2), Member(model="z", busy_share=0.2)
    beside, own = predict(example(), Content(device="GPU", members=(a, unseen)))
    assert (beside.slow_down, own.slow_down) == pytest.approx((1.2, 1.3))
    assert not beside.known
    assert not own.known


def test_uncalibrated_fit_is_the_plain_sum() -> None:
    """Without measurements the prediction is the sum of the busy shares, at least 1, and claims no interval."""
    plain = Interference.uncalibrated("GPU")
    half, most = Member(model="a", busy_share=0.5), Member(model="b", busy_share=0.9)
    (prediction, _) = predict(plain, Content(device="GPU", members=(half, most)))
    assert (prediction.lower, prediction.slow_down, prediction.upper) == pytest.approx((1.4, 1.4, 1.4))
    assert linear_slow_downs(plain, Content(device="GPU", members=(half, half))) == (1, 1)


def test_latency_interval_follows_from_the_slow_downs() -> None:
    """At half the capacity: y = 1.2 gives 10 ms x 1.2 x 0.5 / 0.4 = 15 ms, y = 1.5 gives 30 ms, and y = 2 no end."""
    (prediction, _) = predict(
        Interference.uncalibrated("GPU"), Content(device="GPU", members=(Member(model="a", busy_share=1),) * 2)
    )
    prediction = replace(prediction, lower=1.2, slow_down=1.5, upper=2)
    low, middle, high = prediction.p99_s(0.01, rate=50, capacity=100)
    assert (low, middle) == pytest.approx((0.015, 0.03))
    assert high == math.inf


@pytest.mark.parametrize("wrong", [{"busy_share": -0.1}, {"busy_share": math.nan}, {"slow_down": 0.0}])
def test_member_refuses_what_cannot_be(wrong: dict[str, float]) -> None:
    """A busy share below 0 or a slow-down of 0 is an error of whoever measured it."""
    with pytest.raises(ValueError, match=r"(busy share|slow-down) of a is"):
        Member(**{"model": "a", "busy_share": 0.1, **wrong})  # type: ignore[arg-type]
