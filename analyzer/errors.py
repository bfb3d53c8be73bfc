"""The exceptions for failures that the user can act on: one tree under `TritonpackError`.

Messages name an option as Python does, in backquotes: `max_trial_s`. A command line writes its flag there instead
(`analyzer.formats.option_values.in_flags`).
"""

from __future__ import annotations

EXIT_FAILURE = 1  # a failure that the user can act on
EXIT_USAGE = 2  # a command line, an argument or an input file that is not valid
EXIT_INFEASIBLE = 3  # no plan exists


class TritonpackError(Exception):
    """A failure; its message says in one line what is wrong, with which value, and what to do.

    Attributes
    ----------
    message : str
    exit_code : int
        Exit status of a command that ends with this failure.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(TritonpackError):
    """An option or an input file that is not valid; raised before anything is started."""

    exit_code = EXIT_USAGE


class ServerError(TritonpackError):
    """Triton could not be started or reached."""


class AccessError(ServerError):
    """A server that does not let this client in, or that this client does not trust."""


class NoAnswerError(ServerError):
    """A server that does not answer."""


class SeveralServersError(TritonpackError):
    """Several servers answer at the address of one; no figure of it means anything, and no restart helps."""


class ModelError(TritonpackError):
    """A model that Triton could not load or serve."""


class DeviceError(TritonpackError):
    """A device that cannot be found or read."""


class StoreError(TritonpackError):
    """A store that cannot be opened, read or appended to."""
