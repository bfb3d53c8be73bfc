"""Test that a model configuration is written as config.pbtxt so that the same is read from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.models.config_file import config_text, parse_config


@pytest.mark.parametrize("path", sorted(Path().glob("sample_models/*/config.pbtxt")), ids=lambda path: path.parent.name)
def test_a_written_configuration_reads_as_the_same(path: Path) -> None:
    """The sample models' configurations survive writing and reading."""
    config = parse_config(path.read_text())
    assert parse_config(config_text(config)) == config


def test_large_numbers_maps_and_hostile_texts_survive() -> None:
    """64-bit numbers, parameters, and texts with quotes and line ends are read as they were written."""
    config = {
        "name": 'a"\n} name: "b',
        "dynamic_batching": {"max_queue_delay_microseconds": 2**40, "preferred_batch_size": [4, 8]},
        "parameters": {"key \"'": {"string_value": "line\nline\\"}},
    }
    assert parse_config(config_text(config)) == config


def test_an_unknown_key_is_an_error() -> None:
    """A key that a model configuration does not have is named."""
    with pytest.raises(ValueError, match="max_batch"):
        config_text({"max_batch": 1})
