"""Test the reading of real inputs from perf_analyzer's JSON or a folder, and the refusal of malformed ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.errors import UsageError
from analyzer.load.input_data import read_input_data


def written(folder: Path, document: Any) -> Path:
    """Write a document as JSON."""
    file = folder / "data.json"
    file.write_text(json.dumps(document))
    return file


def test_a_list_of_steps_is_one_stream(tmp_path: Path) -> None:
    """Nested values are flattened in row-major order; ``content`` and ``shape`` are read as separate keys."""
    steps = [{"A": [[1, 2], [3, 4]]}, {"A": {"content": [5, 6], "shape": [1, 2]}}, {"A": 7}]
    (stream,) = read_input_data(written(tmp_path, {"data": steps})).streams
    assert [list(step["A"].values) for step in stream] == [[1, 2, 3, 4], [5, 6], [7]]
    assert [step["A"].shape for step in stream] == [None, (1, 2), None]


def test_lists_of_lists_are_sequences(tmp_path: Path) -> None:
    """Three streams of 4, 3 and 2 steps, as in perf_analyzer's documentation."""
    data = [[{"INPUT": [str(i)]} for i in range(n)] for n in (4, 3, 2)]
    assert [len(stream) for stream in read_input_data(written(tmp_path, {"data": data})).streams] == [4, 3, 2]


def test_base64_gives_bytes_with_and_without_a_shape(tmp_path: Path) -> None:
    """The two forms of perf_analyzer's documentation; "AQI=" is the bytes 1, 2."""
    step = {"A": {"b64": "AQI="}, "B": {"content": {"b64": "AQI="}, "shape": [2]}}
    ((entry,),) = read_input_data(written(tmp_path, {"data": [step]})).streams
    assert (entry["A"].values, entry["A"].shape) == (b"\1\2", None)
    assert (entry["B"].values, entry["B"].shape) == (b"\1\2", (2,))


def test_folder_holds_one_raw_file_per_input(tmp_path: Path) -> None:
    """Each file is named after its input; folders and hidden files are ignored."""
    (tmp_path / "A").write_bytes(b"\1\2")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    ((step,),) = read_input_data(tmp_path).streams
    assert {name: entry.values for name, entry in step.items()} == {"A": b"\1\2"}


def test_digest_depends_on_the_data_alone(tmp_path: Path) -> None:
    """The same data in another file have the same digest; one changed number changes it."""
    digests = []
    for name, number in (("here", 1), ("there", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        digests.append(read_input_data(written(tmp_path / name, {"data": [{"A": [number]}]})).digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], '"data"'),
        ({"data": {}}, '"data"'),
        ({"data": []}, '"data"'),
        ({"data": [1]}, "data[0] is not an object"),
        ({"data": [{"A": [1]}, {}]}, "data[1] is not an object"),
        ({"data": [[{"A": [1]}], []]}, "data[1] is an empty sequence"),
        ({"data": [[{"A": [1]}, 5]]}, "data[0][1] is not an object"),
        ({"data": [{"A": [1]}, [{"A": [1]}]]}, "data[1] is not an object"),
        ({"data": [{"A": {"b64": "%%"}}]}, "data[0].A.b64 is not base64"),
        ({"data": [{"A": {"b64": 5}}]}, "data[0].A.b64 is not base64"),
        ({"data": [{"A": {"values": [1]}}]}, "data[0].A has the keys 'values'"),
        ({"data": [{"A": {"content": [1], "shape": "1"}}]}, "data[0].A.shape is '1'"),
        ({"data": [{"A": {"content": [1], "shape": [True]}}]}, "data[0].A.shape"),
        ({"data": [{"A": {"content": [1], "shape": [-1]}}]}, "data[0].A.shape"),
    ],
)
def test_other_formats_are_refused_with_their_place(tmp_path: Path, document: Any, said: str) -> None:
    """The error is one line that names the file and the place in it."""
    file = written(tmp_path, document)
    with pytest.raises(UsageError) as caught:
        read_input_data(file)
    assert said in caught.value.message
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_invalid_json_is_refused(tmp_path: Path, text: bytes) -> None:
    """Refused are files that are empty, cut off, not UTF-8 or nested too deeply."""
    file = tmp_path / "data.json"
    file.write_bytes(text)
    with pytest.raises(UsageError, match="is not JSON"):
        read_input_data(file)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    """The error names the path and says what to do."""
    with pytest.raises(UsageError, match=r"nowhere cannot be read: No such file"):
        read_input_data(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no file"):
        read_input_data(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["A", "content", "shape", "b64"]), inner)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(JSON)
def test_any_json_is_read_or_refused(tmp_path: Path, document: Any) -> None:
    """Whatever JSON a file holds, it is read or raises UsageError and nothing else."""
    file = written(tmp_path, {"data": document})
    try:
        data = read_input_data(file)
    except UsageError as error:
        assert str(file) in error.message
    else:
        assert all(stream for stream in data.streams)
