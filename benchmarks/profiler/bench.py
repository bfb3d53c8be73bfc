"""The settings that every case gets: the peers, and whether settings are short; and its progress messages."""

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
        Whether settings are short, to try the benchmark; the figures are then not worth keeping.
    brute : bool
        Whether the cases `climb-*` run Model Analyzer's brute search too, which takes minutes.
    """

    peers: Peers
    quick: bool
    brute: bool = True

    def pick(self, full: Setting, *, quick: Setting) -> Setting:
        """Return the full or the quick setting."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Print on stderr what runs now."""
        print(text, file=sys.stderr, flush=True)
