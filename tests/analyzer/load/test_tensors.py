"""Test the tensors of requests: shapes, types and values of a model's inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer.errors import ModelError
from analyzer.load.input_data import InputData, TensorValues
from analyzer.load.tensors import NUMPY_TYPES, build_steps
from analyzer.models.repository import Input, Model


def model_of(*inputs: Input, batches: int = 0, **settings: Any) -> Model:
    """Make a model with these inputs."""
    return Model(name="m", path=Path("m"), inputs=inputs, max_batch_size=batches, **settings)


def entry(values: Any, shape: tuple[int, ...] | None = None, **settings: Any) -> TensorValues:
    """Make an input's values as read from a file."""
    return TensorValues(values=values, shape=shape, where="f.json: data[0].X", **settings)


def data_of(*streams: list[Any]) -> InputData:
    """Make streams of steps for the only input, X."""
    return InputData(source="f.json", streams=tuple(tuple({"X": value} for value in stream) for stream in streams))


def only(model: Model, data: InputData | None = None, **settings: Any) -> np.ndarray[Any, Any]:
    """Build the input X of the first request."""
    return build_steps(model, 1, shapes=settings, data=data)[0][0]["X"]


@pytest.mark.parametrize("datatype", sorted(NUMPY_TYPES))
def test_random_values_have_the_inputs_type_and_shape(datatype: str) -> None:
    """Batch 3 of dims 2 x 5 has shape 3 x 2 x 5; the same seed gives the same values."""
    model = model_of(Input(name="X", datatype=datatype, dims=(2, 5)), batches=8)
    first, second = (build_steps(model, 3, shapes={}, seed=7)[0][0]["X"] for _ in range(2))
    assert first.shape == (3, 2, 5)
    assert first.dtype == NUMPY_TYPES[datatype]
    assert (first == second).all()
    assert len(set(first.ravel().tolist())) > 1


def test_optional_inputs_are_left_out_of_random_requests() -> None:
    """Random values are made for the required inputs alone."""
    model = model_of(
        Input(name="X", datatype="FP32", dims=(1,)), Input(name="O", datatype="FP32", dims=(-1,), optional=True)
    )
    assert set(build_steps(model, 1, shapes={})[0][0]) == {"X"}


@pytest.mark.parametrize(
    ("datatype", "values", "expected"),
    [
        ("FP16", [1.5, 2], [1.5, 2.0]),
        ("FP64", [0.1, 1e300], [0.1, 1e300]),
        ("UINT8", [0, 255], [0, 255]),
        ("INT64", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ("UINT64", [0, 2**64 - 1], [0, 2**64 - 1]),
        ("BOOL", [True, 0], [True, False]),
        ("BYTES", ["a\0", "é"], [b"a\0", b"\xc3\xa9"]),
        ("BF16", [1.0, -2.0], [0x3F80, 0xC000]),  # upper halves of 0x3F800000 and 0xC0000000
        ("FP32", b"\0\0\x80?\0\0\0@", [1.0, 2.0]),  # 0x3F800000 and 0x40000000, little-endian
        ("BF16", b"\x80?\0\xc0", [0x3F80, 0xC000]),
        ("BYTES", b"\2\0\0\0hi\0\0\0\0", [b"hi", b""]),  # each element after its length
    ],
)
def test_values_of_a_file_are_converted_to_the_inputs_type(datatype: str, values: Any, expected: list[Any]) -> None:
    """A file gives values as numbers, strings or raw bytes."""
    model = model_of(Input(name="X", datatype=datatype, dims=(2,)))
    assert only(model, data_of([entry(values)])).tolist() == expected


def test_text_file_has_one_element_per_line() -> None:
    """A file for an input of type BYTES has one element per line, as in perf_analyzer."""
    model = model_of(Input(name="X", datatype="BYTES", dims=(2,)))
    assert only(model, data_of([entry(b"one\ntwo\n", text_lines=True)])).tolist() == [b"one", b"two"]


@pytest.mark.parametrize(
    ("datatype", "values", "said"),
    [
        ("INT32", [1.5, 2], "1.5 is not an integer"),
        ("INT8", [1, 200], "200 is not an integer from -128 to 127"),
        ("INT32", [True, 1], "True is not an integer"),
        ("FP32", [None, 1.0], "null is not a number"),
        ("FP32", ["1", 2], "'1' is not a number"),
        ("BOOL", [2, 0], "2 is neither true nor false"),
        ("BOOL", [None, 0], "null is neither"),
        ("BYTES", [1, "a"], "1 is not a string"),
        ("BYTES", b"\5\0\0\0hi", "ends after the data"),
        ("FP32", [1.0], "cannot reshape"),
        ("FP32", b"\0\0\0", "buffer size"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_their_place(datatype: str, values: Any, said: str) -> None:
    """No value is changed to fit: no fraction is cut, no integer overflows, null is no number."""
    model = model_of(Input(name="X", datatype=datatype, dims=(2,)))
    with pytest.raises(ModelError) as caught:
        only(model, data_of([entry(values)]))
    assert said in caught.value.message
    assert caught.value.message.startswith("f.json: data[0].X")


def test_shape_comes_from_the_file_then_the_option_then_the_values() -> None:
    """A shape in the file wins over --shape; without either, the number of values gives one variable dimension."""
    model = model_of(Input(name="X", datatype="INT32", dims=(-1, 2)))
    values = [1, 2, 3, 4]
    assert only(model, data_of([entry(values, (2, 2))]), X=(9, 2)).shape == (2, 2)
    assert only(model, data_of([entry(values)]), X=(2, 2)).shape == (2, 2)
    assert only(model, data_of([entry(values)])).shape == (2, 2)
    with pytest.raises(ModelError, match=r"shape \[4\] does not fit the model's \[-1, 2\]"):
        only(model, data_of([entry(values, (4,))]))


def test_batch_takes_consecutive_steps_and_wraps_around() -> None:
    """Five steps in batches of two are 0 1, 2 3 and 4 0."""
    model = model_of(Input(name="X", datatype="INT32", dims=(1,)), batches=8)
    ((*steps,),) = build_steps(model, 2, shapes={}, data=data_of([entry([i]) for i in range(5)]))
    assert [step["X"].ravel().tolist() for step in steps] == [[0, 1], [2, 3], [4, 0]]


def test_batch_of_a_sequence_repeats_one_step() -> None:
    """Each step is repeated to fill its batch; joined in one batch, steps would no longer follow each other."""
    model = model_of(Input(name="X", datatype="INT32", dims=(1,)), batches=8, sequence=True)
    streams = build_steps(model, 2, shapes={}, data=data_of([entry([1]), entry([2])], [entry([3])]))
    assert [[s["X"].ravel().tolist() for s in steps] for steps in streams] == [[[1, 1], [2, 2]], [[3, 3]]]


def test_steps_of_different_shapes_cannot_share_a_batch() -> None:
    """The error names both shapes; at batch 1 the steps are sent one after another."""
    model = model_of(Input(name="X", datatype="INT32", dims=(-1,)), batches=8)
    data = data_of([entry([1]), entry([1, 2])])
    assert len(build_steps(model, 1, shapes={}, data=data)[0]) == 2
    with pytest.raises(ModelError, match=r"X as \[1\] and as \[2\]"):
        build_steps(model, 2, shapes={}, data=data)


def test_unknown_and_missing_inputs_are_named() -> None:
    """The error names the unknown or missing input and the model's inputs."""
    x, y = Input(name="X", datatype="INT32", dims=(1,)), Input(name="Y", datatype="INT32", dims=(1,))
    with pytest.raises(ModelError, match="m has no input X; it has Y"):
        build_steps(model_of(y), 1, shapes={}, data=data_of([entry([1])]))
    with pytest.raises(ModelError, match=r"data\[0\] has no values for Y of m"):
        build_steps(model_of(x, y), 1, shapes={}, data=data_of([entry([1])]))
