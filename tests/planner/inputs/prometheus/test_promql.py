"""Test PromQL: label filters are read, and no value leaves its string."""

from __future__ import annotations

import ast

import pytest

from planner.inputs.prometheus.promql import label_filter, p99, rate, selector
from tests.builders.hostile_names import HOSTILE


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("namespace=prod", ("namespace", "=", "prod")),
        ("model=~ocr-.*", ("model", "=~", "ocr-.*")),
        ("a!=", ("a", "!=", "")),
        ("a!~b=c", ("a", "!~", "b=c")),
        ("a==b", ("a", "=", "=b")),
    ],
)
def test_filter_is_read_at_its_first_operator(text: str, parts: tuple[str, str, str]) -> None:
    """The operator is the first one; what follows is the value, as it is."""
    found = label_filter(text)
    assert (found.label, found.operator, found.value) == parts
    assert str(found) == text


@pytest.mark.parametrize("text", ["", "prod", "=prod", 'a"b=c', "a-b=c", "1a=b", "up) or vector(1"])
def test_no_filter_is_refused(text: str) -> None:
    """Without a valid label and an operator it is no filter."""
    with pytest.raises(ValueError, match="no label filter"):
        label_filter(text)


@pytest.mark.parametrize("value", HOSTILE)
def test_values_stay_in_their_string(value: str) -> None:
    """The whole value is one string literal, whose text is the value; Python's literals have the same escapes."""
    query = selector("up", [label_filter(f"a={value}")])
    assert query.startswith("up{a=")
    assert query.endswith("}")
    assert ast.literal_eval(query[len("up{a=") : -1]) == value


def test_rate_is_taken_before_the_sum() -> None:
    """A sum of counters hides the reset of one of them, so rate() is inside."""
    filters = [label_filter("namespace=prod")]
    assert rate("c", 300, filters, by=("model",)) == 'sum by (model) (rate(c{namespace="prod"}[300s]))'
    assert p99([]) == 'max by (model) (nv_inference_request_summary_us{quantile="0.99"})'
