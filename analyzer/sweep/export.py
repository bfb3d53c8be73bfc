"""Write the CSV files and figures of a sweep, in a thread as soon as its last trial has ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from analyzer.errors import TritonpackError
from analyzer.measurements.record import Measurement
from analyzer.measurements.store import Store
from analyzer.sweep.settings import SweepSettings


def check_export_folder(folder: Path) -> None:
    """Make the folder before the sweep, so that one that cannot be written to is reported then and not after it.

    Raises
    ------
    TritonpackError
        If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TritonpackError(f"the export folder {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TritonpackError(f"the export folder {folder} cannot be written to; give another one with `export_path`")


class Export:
    """The files of a sweep; they may be written while the last model is unloaded and the server ends.

    Nothing is measured then, so the processor time for the figures disturbs no trial.

    Parameters
    ----------
    settings : SweepSettings
    """

    def __init__(self, settings: SweepSettings) -> None:
        self._settings = settings
        self._writing: Future[list[Path]] | None = None

    def start(self, rows: Sequence[Measurement]) -> None:
        """Begin to write all measurements of the sweep, in a thread."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="export")
        self._writing = thread.submit(_write, self._settings, rows)
        thread.shutdown(wait=False)

    def finish(self, rows: Sequence[Measurement]) -> list[Path]:
        """Return the paths of the figures when everything is written; write it now if it was not started.

        Raises
        ------
        TritonpackError
            If a file cannot be written; the measurements are still in the store.
        """
        return _write(self._settings, rows) if self._writing is None else self._writing.result()


def _write(settings: SweepSettings, rows: Sequence[Measurement]) -> list[Path]:
    """Write the CSV files, and a figure for each model and configuration."""
    from analyzer.measurements.csv_file import write_measurements_csv, write_server_only_csv
    from analyzer.measurements.figures import write_measurement_figures

    folder = settings.export_folder
    with Store.open(settings.store_place) as store:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_measurements_csv(folder / settings.filename_model, rows)
            write_server_only_csv(folder / settings.filename_server_only, store.server_only())
            return write_measurement_figures(rows, folder)
        except OSError as error:
            raise TritonpackError(
                f"the export to {folder} failed: {error.strerror or error}; the measurements are in {store.name}"
            ) from None
