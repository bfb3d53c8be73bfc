"""The order of loading and unloading."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from planner.replan.migration_steps import Action, Item, Seat, Step, order_steps

A, B = Seat("gpu-0"), Seat("gpu-1")


def item(model: str, memory: int) -> Item:
    """A replica."""
    return Item(model, (), memory)


def told(steps: tuple[Step, ...]) -> list[tuple[str, str, str, bool]]:
    """Steps in short."""
    return [(s.action.value, s.gpu, s.item.model if s.item else "", s.gap) for s in steps]


def test_replacement_is_loaded_before_the_old_one_goes() -> None:
    """There is room on gpu-1, so that the model serves all the time."""
    before = {A: Counter({item("a", 5): 1}), B: Counter({item("b", 5): 1})}
    after = {A: Counter[Item](), B: Counter({item("a", 5): 1, item("b", 5): 1})}
    assert told(order_steps(before, after, {A: 10, B: 10})) == [
        ("load", "gpu-1", "a", False),
        ("unload", "gpu-0", "a", False),
    ]


def test_swap_without_room_has_a_gap_and_says_so() -> None:
    """Two full GPUs swap their models: one must go before the other can come."""
    before = {A: Counter({item("a", 10): 1}), B: Counter({item("b", 10): 1})}
    after = {A: Counter({item("b", 10): 1}), B: Counter({item("a", 10): 1})}
    steps = order_steps(before, after, {A: 10, B: 10})
    assert [s.gap for s in steps] == [True, False, False, False]
    assert steps[0].action is Action.UNLOAD


def test_recut_gpu_is_emptied_first() -> None:
    """The other GPU takes over its model before the cut, and it comes back on a slice."""
    piece = Seat("gpu-0", ("1g.5gb", 0))
    before = {A: Counter({item("a", 5): 1})}
    after = {piece: Counter({item("b", 3): 1}), B: Counter({item("a", 5): 1})}
    assert told(order_steps(before, after, {A: 10, piece: 4, B: 10}, ["gpu-0"])) == [
        ("load", "gpu-1", "a", False),
        ("unload", "gpu-0", "a", False),
        ("cut", "gpu-0", "", False),
        ("load", "gpu-0", "b", False),
    ]


contents = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 6)), max_size=5)


@given(st.lists(st.tuples(contents, contents, st.booleans()), min_size=1, max_size=4))
def test_memory_is_never_exceeded_and_the_goal_is_reached(
    gpus: list[tuple[list[tuple[str, int]], list[tuple[str, int]], bool]],
) -> None:
    """Played out step by step, on GPUs that are as full as can be before and after."""
    before, after, capacity, recut = {}, {}, {}, []
    for n, (old, new, cut) in enumerate(gpus):
        seat = Seat(f"gpu-{n}")
        before[seat] = Counter(item(*i) for i in old)
        after[seat] = Counter(item(*i) for i in new)
        capacity[seat] = max(sum(i[1] for i in old), sum(i[1] for i in new))
        recut += [seat.gpu] if cut else []
    now = {seat: Counter(content) for seat, content in before.items()}
    for step in order_steps(before, after, capacity, recut):
        seat = Seat(step.gpu, step.piece)
        if step.action is Action.CUT:
            assert not now[seat].total()
        else:
            assert step.item is not None
            now[seat][step.item] += 1 if step.action is Action.LOAD else -1
            assert now[seat][step.item] >= 0
            assert sum(i.memory_bytes * k for i, k in now[seat].items()) <= capacity[seat]
    assert all(now[seat] == after[seat] for seat in now)
