"""The order of loading and unloading."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from planner.replan.migration_steps import Action, GpuPart, ServedReplica, Step, order_steps

A, B = GpuPart("gpu-0"), GpuPart("gpu-1")


def replica(model: str, memory: int) -> ServedReplica:
    """A replica."""
    return ServedReplica(model, (), memory)


def told(steps: tuple[Step, ...]) -> list[tuple[str, str, str, bool]]:
    """Steps in short."""
    return [(s.action.value, s.gpu, s.replica.model if s.replica else "", s.gap) for s in steps]


def test_replacement_is_loaded_before_the_old_one_goes() -> None:
    """There is room on gpu-1, so that the model serves all the time."""
    before = {A: Counter({replica("a", 5): 1}), B: Counter({replica("b", 5): 1})}
    after = {A: Counter[ServedReplica](), B: Counter({replica("a", 5): 1, replica("b", 5): 1})}
    assert told(order_steps(before, after, {A: 10, B: 10})) == [
        ("load", "gpu-1", "a", False),
        ("unload", "gpu-0", "a", False),
    ]


def test_swap_without_room_has_a_gap_and_says_so() -> None:
    """Two full GPUs swap their models: one must go before the other can come."""
    before = {A: Counter({replica("a", 10): 1}), B: Counter({replica("b", 10): 1})}
    after = {A: Counter({replica("b", 10): 1}), B: Counter({replica("a", 10): 1})}
    steps = order_steps(before, after, {A: 10, B: 10})
    assert [s.gap for s in steps] == [True, False, False, False]
    assert steps[0].action is Action.UNLOAD


def test_recut_gpu_is_emptied_first() -> None:
    """The other GPU takes over its model before the cut, and it comes back on a slice."""
    piece = GpuPart("gpu-0", ("1g.5gb", 0))
    before = {A: Counter({replica("a", 5): 1})}
    after = {piece: Counter({replica("b", 3): 1}), B: Counter({replica("a", 5): 1})}
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
        part = GpuPart(f"gpu-{n}")
        before[part] = Counter(replica(*i) for i in old)
        after[part] = Counter(replica(*i) for i in new)
        capacity[part] = max(sum(i[1] for i in old), sum(i[1] for i in new))
        recut += [part.gpu] if cut else []
    now = {part: Counter(content) for part, content in before.items()}
    for step in order_steps(before, after, capacity, recut):
        part = GpuPart(step.gpu, step.piece)
        if step.action is Action.CUT:
            assert not now[part].total()
        else:
            assert step.replica is not None
            now[part][step.replica] += 1 if step.action is Action.LOAD else -1
            assert now[part][step.replica] >= 0
            assert sum(i.memory_bytes * k for i, k in now[part].items()) <= capacity[part]
    assert all(now[part] == after[part] for part in now)
