"""Test the marks of servers: a mark names the process that started a server, and shows whether it has ended."""

from __future__ import annotations

import subprocess
import sys

from analyzer.servers.orphans import is_orphan, owner_mark


def test_mark_of_a_living_process_is_no_orphan() -> None:
    """The mark of a running process (this one) is no orphan."""
    assert not is_orphan(owner_mark(), running=True)


def test_mark_of_an_ended_process_is_an_orphan() -> None:
    """A server that still runs after its starter has ended is an orphan."""
    script = "from analyzer.servers.orphans import owner_mark; print(owner_mark())"
    mark = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert is_orphan(mark, running=True)


def test_process_id_in_use_again_does_not_hide_an_orphan() -> None:
    """A process with the same id but another start time is another process."""
    boot, namespace, process_id, ticks = owner_mark().split()
    assert is_orphan(f"{boot} {namespace} {process_id} {int(ticks) + 1}", running=True)


def test_mark_of_another_namespace_is_left_alone() -> None:
    """Process ids of another namespace cannot be looked up, so its marks are never orphans."""
    boot, _, process_id, ticks = owner_mark().split()
    assert not is_orphan(f"{boot} pid:[1] {process_id} {int(ticks) + 1}", running=True)


def test_mark_of_another_boot_is_an_orphan_once_it_has_ended() -> None:
    """A running server of another boot may belong to another host that shares the engine."""
    _, namespace, process_id, ticks = owner_mark().split()
    mark = f"00000000-0000-0000-0000-000000000000 {namespace} {process_id} {ticks}"
    assert not is_orphan(mark, running=True)
    assert is_orphan(mark, running=False)


def test_foreign_label_is_no_orphan() -> None:
    """A label in another format was not written by this tool and is never an orphan."""
    assert not is_orphan("me", running=False)
    assert not is_orphan("", running=False)
