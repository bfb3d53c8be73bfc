"""Test the choice of pairs: each model often enough, none twice, and first those of which least is known."""

from __future__ import annotations

from collections import Counter

import pytest

from planner.interference.pairs import choose_pairs


@pytest.mark.parametrize(("n", "per_model"), [(2, 1), (5, 1), (6, 2), (7, 3), (20, 2)])
def test_each_model_is_in_as_many_pairs_as_asked(n: int, per_model: int) -> None:
    """No model is in fewer pairs, hardly any in more, and no pair is chosen twice."""
    models = [f"m{i:02}" for i in range(n)]
    pairs = choose_pairs(models, per_model)
    count = Counter(name for pair in pairs for name in pair)
    assert all(min(per_model, n - 1) <= count[name] <= per_model + 1 for name in models)
    assert len(set(map(frozenset, pairs))) == len(pairs)
    assert sum(count.values()) <= n * per_model + 2


def test_measured_pairs_are_not_measured_again() -> None:
    """A pair that was measured is left out, and models that were never measured come first."""
    pairs = choose_pairs(["a", "b", "c", "d"], 1, [("a", "b"), ("a", "b")])
    assert ("a", "b") not in pairs
    assert pairs[0] == ("c", "d")
    assert choose_pairs(["a", "b"], 3, [("b", "a")]) == ()
    assert choose_pairs(["a"], 2) == ()
