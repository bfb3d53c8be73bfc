"""Turn SIGINT and SIGTERM into an exception, so that every ``with`` block cleans up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_EXIT_ON_SIGNAL = 128  # shells' convention: 128 + the signal's number


class Interrupted(SystemExit):
    """Raised when SIGINT or SIGTERM asks this process to stop.

    It is no subclass of Exception, so that no handler of failures catches it. It is a SystemExit because gevent, which
    tritonclient uses, passes that on from its callbacks, and prints a traceback of anything else.
    """

    def __init__(self, number: int) -> None:
        super().__init__(_EXIT_ON_SIGNAL + number)


@contextlib.contextmanager
def signals_as_interrupts(signals: Sequence[signal.Signals] = _SIGNALS) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `Interrupted`; ignore further ones, which would interrupt the clean-up.

    Parameters
    ----------
    signals : sequence of Signals
        The signals to turn into `Interrupted`.
    """

    def ignore(_number: int, _frame: FrameType | None) -> None:
        # not SIG_IGN: Python warns of a second signal that is already pending ("ignored due to race condition")
        return

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, ignore)
        raise Interrupted(number)

    before = {each: signal.signal(each, interrupt) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def sigint_as_interrupt() -> contextlib.AbstractContextManager[None]:
    """Turn Ctrl-C into `Interrupted` if this is the main thread, the only one in which Python handles signals."""
    if threading.current_thread() is threading.main_thread():
        return signals_as_interrupts((signal.SIGINT,))
    return contextlib.nullcontext()


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM, also in processes started meanwhile, which call `unblock_signals` themselves."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        unblock_signals()


def unblock_signals() -> None:
    """Unblock SIGINT and SIGTERM; those that arrived meanwhile are delivered."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
