"""Test the command `plan import` up to where it needs a Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.export import command as export
from planner.cli.import_prometheus import command as prometheus
from planner.cli.main import main
from planner.cli.solve import command as solve

ROOT = Path(__file__).parent.parent.parent.parent


def test_help_lists_where_a_demand_comes_from() -> None:
    """`plan import --help` names the sources, and `plan --help` names import."""
    assert "prometheus  Write a demand" in CliRunner().invoke(main, ["import", "--help"]).output
    assert "import " in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["promtheus"], "no command 'promtheus'; did you mean 'prometheus'?"),
        (["prometheus"], "say where the Prometheus is, with --url"),
        (["prometheus", "--url", "here"], "Invalid value for '--url'"),
        (["prometheus", "--url", "http://h", "--label", "prod"], "is no label filter; write namespace=prod"),
        (["prometheus", "--url", "http://h", "--window", "1m"], "give a larger --window"),
        (["prometheus", "--url", "http://h", "-o", "/none/demand.toml"], "there is no folder /none"),
        (["prometheus", "--url", "http://h", "--token-file", "/none"], "--token-file /none cannot be read"),
        (["prometheus", "--url", "http://h", "--profiles", "/none"], "/none"),
    ],
)
def test_wrong_command_line_is_one_line_with_exit_code_2(arguments: list[str], said: str) -> None:
    """What is wrong is told before anything is asked of a server."""
    result = CliRunner().invoke(main, ["import", *arguments])
    assert said in result.stderr
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_token_of_several_words_is_refused_unseen(tmp_path: Path) -> None:
    """A file that is no token, such as a key, is not sent, and not shown."""
    for content in (b"\xff secret", b"secret\nsecret", b""):
        (tmp_path / "token").write_bytes(content)
        arguments = ["import", "prometheus", "--url", "http://127.0.0.1:9", "--token-file", str(tmp_path / "token")]
        result = CliRunner().invoke(main, arguments)
        assert "holds no token" in result.stderr
        assert "secret" not in result.stderr


def test_page_on_demand_names_only_options_that_exist() -> None:
    """Every flag in docs/demand.md is one of the commands that it shows, or Triton's --metrics-config."""
    page = (ROOT / "docs" / "demand.md").read_text()
    known = {flag for one in (prometheus, solve, export) for option in one.params for flag in option.opts}
    named = set(re.findall(r"--[a-z][a-z0-9-]+", page))
    assert len(named) > 10
    assert named - known == {"--metrics-config"}
