"""Every command of the README runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from analyzer.servers.local import Installation
from tests.conftest import missing

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """Take out the code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_command_of_the_readme_ends_well(tmp_path: Path) -> None:
    """The console blocks' commands run in their order, in one folder, with the files that the README shows."""
    if Installation.find() is None:
        missing("no tritonserver here: pip install 'tritonpack[local]'")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    for content in blocks("toml"):
        (tmp_path / content.split()[1]).write_text(content)  # the first line is a comment with the file's name
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 8
    for command in commands:
        done = subprocess.run(
            command.split(), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert (tmp_path / "report" / "report.html").exists()
    assert (tmp_path / "growth.csv").exists()
