"""What every case is given: the peers, how long to take, and where to say what is going on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.profiler.peers import Peers

Setting = TypeVar("Setting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The settings of a run.

    Parameters
    ----------
    quick : bool
        Short settings, which try the benchmark and yield no figures worth keeping.
    """

    peers: Peers
    quick: bool

    def pick(self, full: Setting, *, quick: Setting) -> Setting:
        """Choose a setting."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Tell on stderr what runs now."""
        print(text, file=sys.stderr, flush=True)
