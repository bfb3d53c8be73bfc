"""Test models as others write them: callers of models that an input names, stateful models, missing backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.model_repositories import write_model
from tests.live.analysis import analyze, outcome, rows
from tests.live.test_sequences import BATCHING, CHECK_IDS

pytestmark = pytest.mark.usefixtures("local_server")
HOLD_64_MIB = "self.held = np.ones(64 << 17)"  # float64
NAME_INPUT = 'input [{ name: "MODEL" data_type: TYPE_STRING dims: [ 1 ] }]\n'
CALL = """name = {name}
            y = pb_utils.InferenceRequest(
                model_name=name, requested_output_names=["Y"], inputs=[pb_utils.Tensor("X", x)]
            ).exec()
            if y.has_error():
                raise pb_utils.TritonModelException(y.error().message())"""
FROM_INPUT = 'pb_utils.get_input_tensor_by_name(request, "MODEL").as_numpy().ravel()[0].decode()'


def write_foreign_models(repository: Path) -> Path:
    """Write the models; return a file with inputs for the caller whose input names a model."""
    write_model(repository, "add", initialize=HOLD_64_MIB)
    write_model(repository, "by_code", execute=CALL.format(name='"add"'))
    write_model(repository, "by_input", execute=CALL.format(name=FROM_INPUT))
    with (repository / "by_input" / "config.pbtxt").open("a") as config:
        config.write(NAME_INPUT)
    log = repr(str(repository.parent / "ids.log"))
    write_model(repository, "stateful", execute=CHECK_IDS.replace("LOG", log).replace("FAILS", "0").strip())
    with (repository / "stateful" / "config.pbtxt").open("a") as config:
        config.write(BATCHING)
    (repository / "engine" / "1").mkdir(parents=True)
    (repository / "engine" / "1" / "model.plan").write_text("no weights")
    data = repository.parent / "data.json"
    data.write_text('{"data": [{"X": [1, 2], "MODEL": ["add"]}]}')
    return data


def test_models_that_a_caller_names_are_loaded_or_the_way_to_load_them_is_said(repository: Path) -> None:
    """A name in the code is found; a name in an input needs `--also-load`, and without it the cause says so.

    The called model's 64 MiB count as its caller's. A backend that is missing is named before the sweep starts.
    """
    data = write_foreign_models(repository)
    done = analyze(repository, "--concurrency", "1,2", "--export", code=1)
    table = {(row["model"], row["concurrency"]): row for row in rows(repository)}
    for name in ("add", "by_code", "stateful"):
        assert [outcome(table[name, level]) for level in "12"] == ["measured"] * 2, table[name, "1"]["cause"]
    assert float(table["by_code", "1"]["model_memory_mib"]) > 64
    assert table["by_input", "1"]["status"] == "inference_error"  # random text is the name of no model
    assert "give it in --input-data" in table["by_input", "1"]["cause"]
    assert table["engine", "1"]["status"] == "load_failed"
    before_start, _, after = done.stderr.partition("\nTriton: ")
    assert "by_code is measured with add, which its code names" in before_start
    assert "engine cannot be loaded: its backend, tensorrt, is missing" in before_start
    assert after

    one = ("--model-names", "by_input", "--input-data", str(data), "--export")
    assert "--also-load add loads it too" in analyze(repository, *one, code=1).stderr
    analyze(repository, *one, "--also-load", "add")
    (row,) = rows(repository)
    assert outcome(row) == "measured"
    assert float(row["model_memory_mib"]) > 64


def test_missing_backend_of_every_model_starts_nothing(repository: Path) -> None:
    """The only line says which backend is missing, what the server has, and which server to use."""
    write_foreign_models(repository)
    said = analyze(repository, "--model-names", "engine", code=2).stderr.splitlines()
    assert len(said) == 1
    assert said[0].startswith("Error: engine: its backend, tensorrt, is missing: Triton (local, ")
    assert said[0].endswith("tritonserver:24.10-py3 has it: use --launch-mode docker, or --url of one that runs")
