"""Run one server as a child process and clean up after it, however the calling program ends.

Run by path with a bare interpreter (``python -I -S guard.py``), so it imports the standard library only. The caller
does not start the server itself, because a parent-death signal set by the caller would fire when the *thread* that
started the server ends, and because nothing else could clean up after the caller is killed with SIGKILL.

Command line: ``guard.py <caller's process id> <directory> <shared memory prefix> <grace seconds> <command> ...``
The first line on stdout is the server's process id. The end of stdin stops the server; it gets the grace time to end
its models, unless the word ``now`` came before. The exit status is the server's own, or 128 plus the signal that
ended it. What the server and its models write goes to the guard's stderr, a file opened to append; it keeps the end of
it only, since a model may write gigabytes.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
PARENT_CHECK_MS = 500
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lives, not a temporary file
LOG_BYTES = 8 << 20  # when the log is larger, all but its last KEPT_BYTES are dropped
KEPT_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
LOG_END_S = 1.0  # longest wait for output of processes that have left the server's tree


def main(arguments: list[str]) -> int:
    """Run the command, stop it when asked or orphaned, clean up, and return its exit status."""
    parent, directory, prefix, grace_s, *command = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphaned stubs become the guard's children, which it can end

    def die_with_guard() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # of this thread: it lasts as long as the guard

    output, writes = os.pipe()
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=writes, stderr=writes, preexec_fn=die_with_guard
    )
    os.close(writes)
    log = threading.Thread(target=keep_end, args=(output, sys.stderr.fileno()), daemon=True)
    log.start()  # after the fork: this thread, which forked the server, must be the one that lasts
    print(server.pid, flush=True)  # noqa: T201 - the launcher reads it
    wait_for_end(server, int(parent))
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(0.0 if read_stdin() == b"now" else float(grace_s))
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    kill_children()
    log.join(LOG_END_S)
    for segment in SHARED_MEMORY.glob(f"{prefix}*"):
        segment.unlink(missing_ok=True)
    if os.getppid() != int(parent):  # the caller is gone, so nobody reads the log
        shutil.rmtree(directory, ignore_errors=True)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def keep_end(output: int, log: int) -> None:
    """Copy what is written to a pipe to the file `log`, opened to append, and keep only the end of it there."""
    size = os.fstat(log).st_size
    while chunk := os.read(output, CHUNK_BYTES):
        try:
            if size + len(chunk) > LOG_BYTES:
                kept = os.pread(log, KEPT_BYTES, size - KEPT_BYTES)
                os.ftruncate(log, 0)
                size = os.write(log, kept)
            size += os.write(log, chunk)
        except OSError:  # the disk is full: the server must not wait for it
            continue


def wait_for_end(server: subprocess.Popen[bytes], parent: int) -> None:
    """Return when the server has ended, when stdin asks for its end, or when `parent` is gone."""
    waiter = select.poll()
    waiter.register(sys.stdin.fileno(), select.POLLIN)
    waiter.register(os.pidfd_open(server.pid), select.POLLIN)
    while not waiter.poll(PARENT_CHECK_MS):
        if os.getppid() != parent:  # stdin stays open when a forked child of the parent still holds it
            return


def read_stdin() -> bytes:
    """Return what has arrived on stdin so far."""
    ready, _, _ = select.select([sys.stdin], [], [], 0.0)
    return os.read(sys.stdin.fileno(), 16) if ready else b""


def kill_children() -> None:
    """Kill every process that the server left behind; grandchildren become children here when their parents end."""
    while children := child_processes():
        for process_id in children:
            os.kill(process_id, signal.SIGKILL)
        for process_id in children:
            os.waitpid(process_id, 0)


def child_processes() -> list[int]:
    """List the guard's children from /proc (the kernel's own list, task/*/children, is a build option)."""
    children = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # pid (comm) state ppid ...; comm may hold anything, so count from its last parenthesis
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended meanwhile
            continue
        if parent == os.getpid():
            children.append(int(entry.name))
    return children


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
