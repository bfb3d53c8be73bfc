"""A mark names its process, and tells when that is surely gone."""

from __future__ import annotations

import subprocess
import sys

from analyzer.servers.orphans import is_orphan, our_mark


def test_mark_of_a_living_process_is_no_orphan() -> None:
    """We live."""
    assert not is_orphan(our_mark(), running=True)


def test_mark_of_an_ended_process_is_an_orphan() -> None:
    """A process that has ended left an orphan, running or not."""
    script = "from analyzer.servers.orphans import our_mark; print(our_mark())"
    mark = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert is_orphan(mark, running=True)


def test_process_id_in_use_again_does_not_hide_an_orphan() -> None:
    """Another start time under the same number is another process."""
    boot, namespace, process_id, ticks = our_mark().split()
    assert is_orphan(f"{boot} {namespace} {process_id} {int(ticks) + 1}", running=True)


def test_mark_of_another_namespace_is_left_alone() -> None:
    """Its process ids are not ours to look up."""
    boot, _, process_id, ticks = our_mark().split()
    assert not is_orphan(f"{boot} pid:[1] {process_id} {int(ticks) + 1}", running=True)


def test_mark_of_another_boot_is_an_orphan_once_it_has_ended() -> None:
    """While it runs it may be another host's that shares the engine."""
    _, namespace, process_id, ticks = our_mark().split()
    mark = f"00000000-0000-0000-0000-000000000000 {namespace} {process_id} {ticks}"
    assert not is_orphan(mark, running=True)
    assert is_orphan(mark, running=False)


def test_mark_of_somebody_else_is_left_alone() -> None:
    """A label that we did not write says nothing."""
    assert not is_orphan("me", running=False)
    assert not is_orphan("", running=False)
