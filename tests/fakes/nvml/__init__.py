"""Build the fake libnvidia-ml.so.1, write its state, and run the real nvidia-ml-py with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

LIBRARY = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("nvml.c")
REPOSITORY = SOURCE.parents[3]


def build(folder: Path, *, absent: Collection[str] = ()) -> Path:
    """Compile the library into `folder`, without the `absent` functions, as in an older driver."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = [f"-D{function}=absent_{function}" for function in absent]
    command = ["gcc", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{LIBRARY}", *hidden, str(SOURCE)]
    subprocess.run([*command, "-o", str(folder / LIBRARY)], check=True)
    return folder


# Of a driver that samples every sixth of a second; as they do not move, the rates are read. Give them to `write_state`.
SAMPLES = tuple(f"gpu_sample {1_000_000 + n * 166_667} 0" for n in range(3))


def write_state(file: Path, *lines: str, **figures: object) -> None:
    """Replace a state file in one step, so that no reader sees half of it; `lines` are for repeated keys."""
    text = "".join(f"{key} {value}\n" for key, value in figures.items()) + "".join(f"{line}\n" for line in lines)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text)
    partial.replace(file)


def write_driver(state: Path, gpus: Sequence[str], *, version: str = "550.54", uuids: str = "GPU-") -> None:
    """Write the state of a driver with GPUs of these names, each with 300 of 16,384 MiB in use.

    Parameters
    ----------
    uuids : str
        What the UUIDs begin with; the GPU's number follows.
    """
    state.mkdir(parents=True)
    write_state(state / "driver.state", version=version)
    for index, name in enumerate(gpus):
        (state / f"gpu{index}.d").mkdir()
        write_state(
            state / f"gpu{index}.state",
            *SAMPLES,
            name=name,
            uuid=f"{uuids}{index}",
            memory_total_mib=16384,
            memory_used_mib=300,
            utilization_pct=0,
            memory_utilization_pct=0,
        )


def environment(library: Path, state: Path) -> dict[str, str]:
    """Return the environment variables with which a new process finds the library, and the library its state."""
    return {**os.environ, "LD_LIBRARY_PATH": str(library), "TRITONPACK_FAKE_NVML": str(state)}


def run_python(code: str, *, library: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new process, because the library is found when a process starts."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(library, state),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
