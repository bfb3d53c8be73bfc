"""Test the order of the migration steps: loads, unloads and MIG cuts."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from planner.replan.migration_steps import Action, GpuPart, ServedReplica, Step, order_steps

A, B = GpuPart("gpu-0"), GpuPart("gpu-1")


def replica(model: str, memory: int) -> ServedReplica:
    """Make a replica."""
    return ServedReplica(model, 0, memory)


def summary(steps: tuple[Step, ...]) -> list[tuple[str, str, str, bool]]:
    """Return action, GPU, model and gap of each step."""
    return [(s.action.value, s.gpu, s.replica.model if s.replica else "", s.gap) for s in steps]


def test_replacement_is_loaded_before_the_old_one_goes() -> None:
    """With room on gpu-1 the model is loaded there before gpu-0 unloads it, without a gap."""
    before = {A: Counter({replica("a", 5): 1}), B: Counter({replica("b", 5): 1})}
    after = {A: Counter[ServedReplica](), B: Counter({replica("a", 5): 1, replica("b", 5): 1})}
    assert summary(order_steps(before, after, {A: 10, B: 10})) == [
        ("load", "gpu-1", "a", False),
        ("unload", "gpu-0", "a", False),
    ]


def test_swap_without_room_has_a_gap_and_says_so() -> None:
    """If two full GPUs swap their models, one must be unloaded first, and that step is marked as a gap."""
    before = {A: Counter({replica("a", 10): 1}), B: Counter({replica("b", 10): 1})}
    after = {A: Counter({replica("b", 10): 1}), B: Counter({replica("a", 10): 1})}
    steps = order_steps(before, after, {A: 10, B: 10})
    assert [s.gap for s in steps] == [True, False, False, False]
    assert steps[0].action is Action.UNLOAD


def test_recut_gpu_is_emptied_first() -> None:
    """Before gpu-0 is cut, its model is loaded on gpu-1 and unloaded from gpu-0."""
    slice_position = GpuPart("gpu-0", ("1g.5gb", 0))
    before = {A: Counter({replica("a", 5): 1})}
    after = {slice_position: Counter({replica("b", 3): 1}), B: Counter({replica("a", 5): 1})}
    assert summary(order_steps(before, after, {A: 10, slice_position: 4, B: 10}, ["gpu-0"])) == [
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
    """Step by step, no GPU exceeds its memory or is cut while it holds a model; the steps end at the new placement."""
    before, after, capacity, recut = {}, {}, {}, []
    for n, (old, new, cut) in enumerate(gpus):
        part = GpuPart(f"gpu-{n}")
        before[part] = Counter(replica(*i) for i in old)
        after[part] = Counter(replica(*i) for i in new)
        capacity[part] = max(sum(i[1] for i in old), sum(i[1] for i in new))
        recut += [part.gpu] if cut else []
    now = {part: Counter(content) for part, content in before.items()}
    for step in order_steps(before, after, capacity, recut):
        part = GpuPart(step.gpu, step.slice_position)
        if step.action is Action.CUT:
            assert not now[part].total()
        else:
            assert step.replica is not None
            now[part][step.replica] += 1 if step.action is Action.LOAD else -1
            assert now[part][step.replica] >= 0
            assert sum(i.memory_bytes * k for i, k in now[part].items()) <= capacity[part]
    assert all(now[part] == after[part] for part in now)
