"""SIGINT and SIGTERM as an exception, so that every ``with`` block cleans up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_EXIT_ON_SIGNAL = 128  # shells' convention: 128 + the signal's number


class Interrupted(SystemExit):
    """A signal asked us to stop.

    No Exception, so that nobody on its way takes it for a failure of their own; gevent, below tritonclient, passes
    SystemExit on from its callbacks without a word, and would print a traceback of anything else.
    """

    def __init__(self, number: int) -> None:
        super().__init__(_EXIT_ON_SIGNAL + number)


@contextlib.contextmanager
def signals_as_interrupts(signals: Sequence[signal.Signals] = _SIGNALS) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `Interrupted`; ignore further ones, which would break the cleaning up.

    Parameters
    ----------
    signals : sequence of Signals
        Those that are turned.
    """

    def ignore(_number: int, _frame: FrameType | None) -> None:
        # no SIG_IGN: Python complains of a second signal that was already on its way ("ignored due to race condition")
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
    """Turn Ctrl-C into `Interrupted` where this is the main thread, which alone is told of it."""
    if threading.current_thread() is threading.main_thread():
        return signals_as_interrupts((signal.SIGINT,))
    return contextlib.nullcontext()


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back, also in processes started meanwhile: these take them with `take_signals`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        take_signals()


def take_signals() -> None:
    """Let SIGINT and SIGTERM in, with those that were held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
