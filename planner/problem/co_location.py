"""Which replicas may share a GPU or a node: the rules of a Problem.

A rule is formulated from the demand (`planner.formulation.formulate`), turned into constraints of the CP-SAT model
(`planner.solver.cp_sat.rules`) and into arrays for column generation (`planner.solver.items`,
`planner.solver.sharing_rules`, `planner.solver.bundles`), and checked by `planner.problem.verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, Self


class Within(Enum):
    """Whether replicas are counted on a GPU or on a node."""

    GPU = "GPU"
    NODE = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule about which tasks may share a GPU or a node.

    Parameters
    ----------
    tasks : tuple of int
        Indices of the tasks that it names.
    """

    excludes_others: ClassVar[bool] = False  # whether it keeps tasks that it does not name off a GPU

    tasks: tuple[int, ...]

    def renumbered(self, index: Mapping[int, int], options: Mapping[int, Sequence[int]]) -> Self:
        """Return the rule for tasks that have other numbers; those without one are left out.

        Parameters
        ----------
        index : the new number of each task that is left
        options : for each of these, by its old number, the old numbers of the options that are left
        """
        return replace(self, tasks=tuple(sorted({index[t] for t in self.tasks if t in index})))


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart(Rule):
    """No GPU holds replicas of two different tasks of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Together(Rule):
    """A GPU with a replica of one of these tasks has replicas of all of them.

    No copies are added for that to tasks whose demand is a number of copies (`Task.exact`).
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone(Rule):
    """A GPU with a replica of one of these tasks holds replicas of no other task."""

    excludes_others: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMost(Rule):
    """A GPU, or a node, holds at most so many replicas of these tasks, counted together.

    Parameters
    ----------
    most : int
        Largest number of replicas.
    within : Within
        Where they are counted; a limit on a node also limits each of its GPUs.
    """

    most: int
    within: Within = Within.GPU

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"at least one replica must be allowed on a {self.within.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spare(Rule):
    """The demand of each of these tasks is met also without any `lost` GPUs, or nodes.

    Parameters
    ----------
    lost : int
        GPUs or nodes that may be lost at once; at least 1.
    within : Within
        Which of the two.
    """

    lost: int
    within: Within = Within.GPU

    def __post_init__(self) -> None:
        if self.lost < 1:
            raise ValueError(f"a loss of {self.lost} {self.within.value}s is none")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentPart:
    """So many replicas of a task by these options, counted together."""

    task: int
    options: tuple[int, ...]
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRule(Rule):
    """A rule about what one place holds.

    An option is one of a kind of place, so the options say on which kinds of place the rule holds.

    Parameters
    ----------
    parts : tuple of ContentPart
        At least one; `tasks` are those of the parts.
    """

    tasks: tuple[int, ...] = field(init=False)
    parts: tuple[ContentPart, ...]

    def __post_init__(self) -> None:
        if not self.parts or any(part.count < 1 for part in self.parts):
            raise ValueError("a content has parts of at least one replica each")
        object.__setattr__(self, "tasks", tuple(sorted({part.task for part in self.parts})))

    def renumbered(self, index: Mapping[int, int], options: Mapping[int, Sequence[int]]) -> Self:
        """Return the rule for tasks and options that have other numbers; without the options that are not left."""
        parts = (
            ContentPart(
                task=index.get(part.task, -1),
                options=tuple(k for k, old in enumerate(options.get(part.task, ())) if old in part.options),
                count=part.count,
            )
            for part in self.parts
        )
        return replace(self, parts=tuple(parts))

    @property
    def possible(self) -> tuple[ContentPart, ...]:
        """The parts that have a task and options."""
        return tuple(part for part in self.parts if part.task >= 0 and part.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overloaded(ContentRule):
    """No place holds all of these parts at once, whatever else it holds: a content that failed, or a heavier one."""

    @property
    def is_possible(self) -> bool:
        """Whether some content can hold all of the parts."""
        return len(self.possible) == len(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToHold(ContentRule):
    """A place that holds nothing beside these parts may be loaded up to its capacity, whatever its replicas tolerate.

    The content held when it was measured, so it does with fewer replicas, too. A replica by an option of several parts
    counts to the first of them.
    """

    def part_of(self, task: int, option: int) -> int | None:
        """Return the number of the part that a replica counts to; None where it is of none."""
        named = (c for c, part in enumerate(self.parts) if part.task == task and option in part.options)
        return next(named, None)

    def covers(self, content: Iterable[tuple[int, int, int]]) -> bool:
        """Whether a place that holds these replicas, as (task, option, count), holds nothing beside the parts."""
        left = [part.count for part in self.parts]
        for task, option, count in content:
            part = self.part_of(task, option)
            if part is None or left[part] < count:
                return False
            left[part] -= count
        return True
