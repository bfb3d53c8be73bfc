"""The one tree of failures that a user can act on.

Messages name an option as Python does, in backquotes: `max_trial_s`. A command line writes its flag there instead
(`analyzer.formats.option_values.in_flags`).
"""

from __future__ import annotations

EXIT_FAILURE = 1  # a failure that the user can act on
EXIT_USAGE = 2  # a command line, an argument or an input file that cannot be taken
EXIT_INFEASIBLE = 3  # no plan exists


class TritonpackError(Exception):
    """A failure whose message gives the fact, the value and the way out, in one line.

    Attributes
    ----------
    message : str
    exit_code : int
        That a command ends with on this failure.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(TritonpackError):
    """An option or an input file that cannot be taken; nothing was started."""

    exit_code = EXIT_USAGE


class ServerError(TritonpackError):
    """Triton could not be started or reached."""


class ModelError(TritonpackError):
    """A model that Triton could not load or serve."""


class DeviceError(TritonpackError):
    """A device that cannot be found or read."""


class StoreError(TritonpackError):
    """A store that cannot be opened, read or appended to."""
