"""The one tree of failures that a user can act on, and how a command ends on one."""

from __future__ import annotations

import click

EXIT_FAILURE = 1  # a failure that the user can act on
EXIT_USAGE = 2  # a command line or an input file that cannot be taken
EXIT_INFEASIBLE = 3  # no plan exists


class TritonpackError(click.ClickException):
    """A failure whose message gives the fact, the value and the way out, in one line.

    click prints it as ``Error: message`` on stderr and ends the command with `exit_code`, without a traceback.
    """

    exit_code = EXIT_FAILURE


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
