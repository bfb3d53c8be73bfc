"""Test the command line of `analyze`: its checks of the options, its help and `--check`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from analyzer.cli.main import main
from tests.builders.model_repositories import write_ensemble, write_model

REFUSED = [
    # what is measured
    ("--model-folder /nowhere", "/nowhere does not exist"),
    ("--model-folder {file}", "is not a folder"),
    ("--model-folder {repository}/m", "is a model; give the folder above it"),
    ("--model-names mm", "did you mean 'm'"),
    ("--model-names m,,m", "empty name"),
    ("--batch 1,x", "'x' is not a whole number"),
    ("--batch 0", "out of range"),
    ("--batch 1,-2", "out of range"),
    ("--batch 1.5", "not a whole number"),
    ("--batch", "requires an argument"),
    ("--batch 16", "takes batches up to 8"),
    ("--batch 16 --max-batch-size 2,4", "takes batches up to 4"),
    ("--concurrency 9999999", "out of range"),
    ("--concurrency ,", "not a whole number"),
    ("--request-rate nan", "out of range"),
    ("--request-rate inf", "out of range"),
    ("--request-rate 5,", "not a number"),
    ("--request-rate 5 --concurrency 2", "give one of them"),
    ("--request-rate 5 --find-peak --latency-p99-ms 5", "drop --request-rate"),
    ("--request-rate 5 --search climb", "drop --request-rate"),
    ("--request-rate 5 --arrivals never", "'never' is not one of"),
    ("--arrivals constant", "add --request-rate"),
    ("--instances 0", "out of range"),
    ("--instances one", "'one' is not a whole number"),
    ("--dynamic-batching maybe", "'maybe' is no setting"),
    ("--dynamic-batching on:5", "'on:5' is no setting"),
    ("--dynamic-batching off:5us", "'off:5us' is no setting"),
    ("--dynamic-batching on:11s", "is no setting"),
    ("--max-batch-size 0", "out of range"),
    ("--config /nowhere.yaml", "/nowhere.yaml cannot be read"),
    ("--config {text}", "expected keys with values"),
    ("--config {other}", "no model 'mm'; did you mean 'm'?"),
    # how it is searched
    ("--search walk", "'walk' is not one of"),
    ("--search climb --concurrency 4", "drop --concurrency"),
    ("--max-concurrency 0 --search climb", "is not in the range"),
    ("--max-concurrency 8", "add --search climb"),
    ("--max-instances 8", "--max-instances bounds a climb: add --search climb"),
    ("--max-instances 8 --instances 1,2 --search climb", "drop one of them"),
    ("--latency-p99-ms 0 --search climb", "is not in the range"),
    ("--latency-p99-ms nan --search climb", "is not in the range"),
    ("--latency-p99-ms 50", "add --search climb"),
    ("--find-peak", "needs the latency"),
    # how precise it must be
    ("--precision 0", "is not in the range"),
    ("--precision nan", "is not in the range"),
    ("--max-trial-seconds 0", "is not in the range"),
    ("--max-trial-seconds inf", "is not in the range"),
    ("--request-timeout x", "is not a valid"),
    ("--load-timeout -1", "is not in the range"),
    # what is sent
    ("--shape X", "is no shape"),
    ("--shape X:0", "is no shape"),
    ("--shape Z:2", "no model has the input Z"),
    ("--input-data /nowhere.json", "/nowhere.json cannot be read"),
    ("--input-data {text}", "is not JSON"),
    ("--input-data {json}", 'needs a list "data"'),
    ("--client-processes 0", "--client-processes"),
    ("--client-processes many", "--client-processes"),
    ("--seed -1", "is not in the range"),
    ("--protocol smoke", "'smoke' is not one of"),
    ("--shared-memory cuda", "'cuda' is not one of"),
    ("--sequence-length 0", "is not in the range"),
    # where Triton runs
    ("--launch-mode cloud", "'cloud' is not one of"),
    ("--launch-mode remote", "--url"),
    ("--launch-mode local --url 127.0.0.1:1", "drop one of them"),
    ("--launch-mode remote --url http://", "http://"),
    ("--launch-mode remote --url a:b", "a:b"),
    ("--launch-mode remote --url h:1 --metrics-url ftp://h", "ftp://h"),
    ("--metrics-url http://h", "belongs to a running server"),
    ("--allow-reload", "--allow-reload is about a running server: name it with --url"),
    ("--grpc-url nowhere", "--grpc-url"),
    ("--triton-version ", "--triton-version"),
    ("--triton-image a b", "unexpected extra argument"),
    ("--gpus 7", "7"),
    ("--gpus 0,", "empty name"),
    ("--http-port 0", "is not in the range"),
    ("--http-port x", "is not a valid integer"),
    # where results go
    ("--store nonsense://x", "nonsense"),
    ("--filename-model a/b.csv", "is no file name"),
    ("--filename-server-only ..", "is no file name"),
    # the command itself
    ("--bacth 1", "No such option"),
    ("models", "unexpected extra argument"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_bad_input_is_one_line_and_starts_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, said: str
) -> None:
    """A wrong option ends with exit code 2 and one line that names the value and what to do; no file is written."""
    write_model(repository, "m")
    write_ensemble(repository, "whole", ["m"])
    (tmp_path / "text").write_text("just text")
    (tmp_path / "other").write_text("models: {mm: {batch: 1}}")
    (tmp_path / "json").write_text(json.dumps({"data": []}))
    monkeypatch.chdir(tmp_path)
    places = {name: tmp_path / name for name in ("file", "text", "other", "json")}
    (tmp_path / "file").touch()
    command = ["--model-folder", str(repository), "-o", str(tmp_path / "results")]
    if "--launch-mode" not in arguments and "url" not in arguments:
        command += ["--launch-mode", "local"]
    done = CliRunner().invoke(main, [*command, *arguments.format(repository=repository, **places).split(" ")])
    assert done.exit_code == 2, done.output
    (line,) = [line for line in done.stderr.splitlines() if "left out batch" not in line]
    assert line.startswith("Error: ")
    assert said in line
    assert done.stdout == ""
    assert not (tmp_path / "results").exists()


def test_help_shows_every_option_in_a_group_with_an_example_file() -> None:
    """The help shows the options in groups, an example sweep file, and what each exit status means."""
    text = CliRunner().invoke(main, ["--help"]).stdout
    for heading in ("What is measured:", "How it is searched:", "Where Triton runs:", "Where results go:"):
        assert heading in text
    assert "dynamic-batching: [off" in text
    assert "Exit status" in text
    assert all(max(param.opts, key=len) in text for param in main.params)


def test_check_says_what_this_host_can_measure() -> None:
    """`--check` prints a line for each figure, with how it is measured or why it cannot be; nothing is measured."""
    done = CliRunner().invoke(main, ["--check"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [title for title in ("Part", "What", "Possible") if title in lines[0].split()] == [
        "Part",
        "What",
        "Possible",
    ]
    assert any(line.startswith("host ") and "processor utilization" in line and " yes " in line for line in lines)
    assert any(line.startswith("Triton ") for line in lines)


def test_interpreter_ends_without_a_search_for_cycles() -> None:
    """Objects are frozen when the command ends; the last garbage collection once took 0.1 s of each sweep."""
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 10_000))\n"  # registered first, so called last
        "from analyzer.cli.main import main\n"
        "main(['--model-folder', '/nowhere'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "True\n"), done.stderr
