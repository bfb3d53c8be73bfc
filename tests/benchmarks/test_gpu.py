"""Test the GPU benchmark's script as far as that is possible without a GPU."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.gpu.strip_wheel import strip

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"


def gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script with the running Python."""
    command = ["bash", str(SCRIPT), "--python", sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU here")
def test_without_a_gpu_one_line_says_that_nothing_was_measured() -> None:
    """Without a GPU the script ends with status 1, one line on stderr and nothing on stdout."""
    done = gpu()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "gpu.sh: no NVIDIA GPU here (nvidia-smi lists none); nothing was measured\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--wheels",), "--wheels needs a value"),
        (("--fast",), "there is no option --fast"),
        (("--wheels", "a", "--make-wheels", "b"), "give one of them"),
        (("--try-on-cpu", "--wheels", "no-such-folder"), "there is no folder no-such-folder"),
        (("--python", "no-such-python"), "there is no no-such-python"),
    ],
)
def test_wrong_command_line_is_refused_in_one_line(arguments: tuple[str, ...], reason: str) -> None:
    """A wrong command line ends with status 2 and one line that names the mistake."""
    done = gpu(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_strip_keeps_the_server_and_one_stub(tmp_path: Path) -> None:
    """The stubs of other Python versions and the Python API are removed; RECORD lists exactly the remaining files."""
    wheel = tmp_path / "nvidia_pytriton-0.7.0-py3-none-any.whl"
    kept = ["pytriton/tritonserver/bin/tritonserver", "pytriton/tritonserver/python_backend_stubs/3.12/stub"]
    kept += ["pytriton/__init__.py", "nvidia_pytriton.libs/libssl.so"]
    dropped = ["pytriton/tritonserver/python_backend_stubs/3.13/stub", "pytriton/triton.py"]
    dropped += ["nvidia_pytriton.libs/libpython3-419a3a08.13.so.1.0"]
    record = "nvidia_pytriton-0.7.0.dist-info/RECORD"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in [*kept, *dropped, record]:
            archive.writestr(name, name)
    strip(wheel)
    with zipfile.ZipFile(wheel) as archive:
        assert sorted(archive.namelist()) == sorted([*kept, record])
        lines = archive.read(record).decode().splitlines()
    assert sorted(line.split(",")[0] for line in lines) == sorted([*kept, record])
