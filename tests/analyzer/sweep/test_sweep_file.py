"""Test the sweep file: which of several values is used, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import UsageError
from analyzer.sweep.settings import SweepSettings
from analyzer.sweep.sweep_file import merge


def settings(folder: Path, text: str, **given: Any) -> SweepSettings:
    """Merge a file with this text and the options given."""
    file = folder / "sweep.yaml"
    file.write_text(text)
    return merge(given, file)


def test_command_line_wins_over_model_over_file_over_default(tmp_path: Path) -> None:
    """Each value comes from the first of: command line, the model's section, the file, the default."""
    text = """
batch: [1, 2]
concurrency: 4
precision: 10
models:
  m: {batch: 8, concurrency: [1, 16], instances: 2}
"""
    merged = settings(tmp_path, text, concurrencies=(32,))
    assert (merged.batches, merged.concurrencies, merged.precision_pct) == ((1, 2), (32,), 10.0)
    assert merged.max_trial_s == 15.0
    m, other = merged.of("m"), merged.of("other")
    assert (m.batches, m.concurrencies, m.instances) == ((8,), (32,), (2,))
    assert (other.batches, other.concurrencies, other.instances) == ((1, 2), (32,), ())
    assert merged.given == {"batches", "concurrencies", "precision_pct"}
    assert m.is_given("instances")
    assert not other.is_given("instances")


def test_options_of_single_models_win_over_all_others(tmp_path: Path) -> None:
    """Options for one model, as Python gives them, win over options for all models and over the file."""
    merged = settings(tmp_path, "models: {m: {batch: 2}}", batches=(4,), per_model={"m": {"batches": [8]}})
    assert merged.of("m").batches == (8,)
    assert merged.of("other").batches == (4,)


def test_off_and_on_are_settings_and_not_booleans(tmp_path: Path) -> None:
    """YAML reads a bare ``off`` as false; in the file it has the same meaning as on the command line."""
    merged = settings(tmp_path, "dynamic-batching: [off, on, on:100us]\nexport: true\nmax_batch_size: 4\n")
    assert merged.dynamic_batching == ((False, 0.0), (True, 0.0), (True, pytest.approx(1e-4)))
    assert merged.export is True
    assert merged.max_batch_sizes == (4,)


def test_shapes_are_a_list_of_the_options_values(tmp_path: Path) -> None:
    """An option that may be repeated on the command line is a list in the file."""
    merged = settings(tmp_path, "shape: ['TOKENS:128', 'm:PIXELS:3,4']\n")
    assert dict(merged.shapes) == {"TOKENS": (128,), "m:PIXELS": (3, 4)}


def test_empty_file_is_valid(tmp_path: Path) -> None:
    """A file with only comments, or with an empty `models`, leaves the defaults."""
    assert settings(tmp_path, "# nothing yet\n").batches == (1,)
    assert settings(tmp_path, "models:\n").batches == (1,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batc: [1]", "line 1: unknown key 'batc'; did you mean 'batch'?"),
        ("\nmodels:\n  m:\n    concurency: 2", "line 4: unknown key 'concurency'; did you mean 'concurrency'?"),
        ("models: {m: {store: x}}", "unknown key 'store'"),
        ("config: other.yaml", "unknown key 'config'"),
        ("batch: [1, x]", "line 1: batch: 'x' is not a whole number"),
        ("batch: [0]", "line 1: batch: 0 is out of range"),
        ("batch: true", "line 1: batch: 'true' is not a whole number"),
        ("batch: 1.5", "'1.5' is not a whole number"),
        ("batch: []", "line 1: batch has no value"),
        ("batch:", "line 1: batch has no value"),
        ("batch: {a: 1}", "batch takes a value or a list of values"),
        ("batch: [[1, 2]]", "batch takes a value or a list of values"),
        ("batch: 1\nbatch: 2", "line 2: batch appears twice"),
        ("concurrency: -1", "-1 is out of range"),
        ("request-rate: fast", "'fast' is not a number"),
        ("arrivals: sometimes", "line 1: arrivals: 'sometimes' is not one of"),
        ("instances: two", "'two' is not a whole number"),
        ("dynamic-batching: maybe", "'maybe' is no setting"),
        ("max-batch-size: 0", "0 is out of range"),
        ("search: walk", "'walk' is not one of"),
        ("max-concurrency: 0", "max-concurrency: 0 is not in the range"),
        ("latency-p99-ms: -1", "-1.0 is not in the range"),
        ("latency-p99-ms: [1, 2]", "latency-p99-ms takes one value, and here are 2"),
        ("find-peak: perhaps", "'perhaps' is not a valid boolean"),
        ("precision: 0", "is not in the range"),
        ("max-trial-seconds: nan", "nan is not in the range"),
        ("request-timeout: none", "'none' is not a valid number"),
        ("load-timeout: 1e9", "is not in the range"),
        ("http-port: 70000", "70000 is not in the range"),
        ("launch-mode: cloud", "'cloud' is not one of"),
        ("client-processes: 0", "client-processes"),
        ("seed: x", "seed: 'x' is not a valid integer"),
        ("shape: TOKENS", "'TOKENS' is no shape"),
        ("filename-model: ../m.csv", "is no file name"),
        ("gpus: [0, '']", "has an empty name"),
        ("- batch", "line 1: expected keys with values"),
        ("models: [m]", "line 1: expected keys with values"),
        ("models: {m: 4}", "line 1: expected keys with values"),
        ("? [1]\n: 2", "line 1: a key is a name"),
        ("batch: [1", "line 1: not valid YAML"),
        ("a: &a [*a]", "unknown key 'a'"),
        ("batch: !!python/object/apply:os.getpid []", "batch has no value"),
        ("a: b: c", "line 1: not valid YAML"),
    ],
)
def test_malformed_file_is_refused_with_key_and_line(tmp_path: Path, text: str, said: str) -> None:
    """The error is one line that names the file, the line and the value."""
    with pytest.raises(UsageError) as raised:
        settings(tmp_path, text)
    assert said in raised.value.message
    assert "sweep.yaml" in raised.value.message
    assert "\n" not in raised.value.message


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Refused with the reason are a missing file, a folder, a file that is not UTF-8, and one over 1 MiB."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large").write_bytes(b"#" * (1 << 20) + b"\n")
    for name, said in (("none", "No such file"), ("", "directory"), ("binary", "not UTF-8"), ("large", "1 MiB")):
        with pytest.raises(UsageError, match=said):
            merge({}, tmp_path / name)
