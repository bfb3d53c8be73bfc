"""Test the options of NVIDIA's backend onnxruntime that a model configuration may have."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.models.config_file import parse_config
from analyzer.servers.onnx_backend.onnx_options import not_honoured, session_options, unsupported


def parameter(name: str, value: str) -> str:
    """Return a parameter as config.pbtxt has it."""
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }} '


def test_defaults_are_those_of_nvidia() -> None:
    """Without options, graphs are optimized fully, operators run one after the other, threads are onnxruntime's."""
    options = session_options({})
    assert (options.graph_optimization_level, options.execution_mode) == ("ORT_ENABLE_ALL", "ORT_SEQUENTIAL")
    assert not options.attributes
    assert not options.entries
    assert not options.run_entries


@pytest.mark.parametrize(
    ("level", "name"), [(-1, "ORT_ENABLE_BASIC"), (1, "ORT_ENABLE_EXTENDED"), (2, "ORT_DISABLE_ALL")]
)
def test_graph_level(level: int, name: str) -> None:
    """The levels are NVIDIA's: -1 is basic, 1 is extended, 2 is none."""
    config = parse_config(f"optimization {{ graph {{ level: {level} }} }}")
    assert session_options(config).graph_optimization_level == name


def test_parameters_become_options_of_the_session() -> None:
    """Threads, memory and the order of operators are set by their names in onnxruntime."""
    given = {
        "intra_op_thread_count": "3",
        "inter_op_thread_count": "2",
        "execution_mode": "1",
        "enable_mem_arena": "false",
        "enable_mem_pattern": "1",
        "session.use_device_allocator_for_initializers": "1",
        "memory.enable_memory_arena_shrinkage": "cpu:0",
    }
    options = session_options(parse_config("".join(parameter(*pair) for pair in given.items())))
    assert options.execution_mode == "ORT_PARALLEL"
    assert options.attributes == {
        "intra_op_num_threads": 3,
        "inter_op_num_threads": 2,
        "enable_cpu_mem_arena": False,
        "enable_mem_pattern": True,
    }
    assert options.entries == {"session.use_device_allocator_for_initializers": "1"}
    assert options.run_entries == {"memory.enable_memory_arena_shrinkage": "cpu:0"}


def test_names_are_those_of_onnxruntime() -> None:
    """What the options name exists in onnxruntime's Python API."""
    onnxruntime = pytest.importorskip("onnxruntime")
    for level in (-1, 0, 1, 2):
        name = session_options({"optimization": {"graph": {"level": level}}}).graph_optimization_level
        assert hasattr(onnxruntime.GraphOptimizationLevel, name)
    settings = onnxruntime.SessionOptions()
    for name in ("intra_op_num_threads", "inter_op_num_threads", "enable_cpu_mem_arena", "enable_mem_pattern"):
        assert hasattr(settings, name)
    assert {"ORT_PARALLEL", "ORT_SEQUENTIAL"} <= set(dir(onnxruntime.ExecutionMode))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("intra_op_thread_count", "many", "parameter intra_op_thread_count is 'many': it must be an integer"),
        ("execution_mode", "2", "parameter execution_mode is 2: 0 is sequential, 1 is parallel"),
        ("enable_mem_arena", "maybe", "parameter enable_mem_arena is 'maybe': it must be true or false"),
    ],
)
def test_value_that_is_not_valid_is_refused(name: str, value: str, message: str) -> None:
    """As NVIDIA's backend, a wrong value is an error and not a default."""
    with pytest.raises(ValueError, match=message):
        session_options(parse_config(parameter(name, value)))


@pytest.mark.parametrize(
    ("config", "lost"),
    [
        ("instance_group [{ kind: KIND_GPU }, { kind: KIND_GPU }]", ("KIND_GPU",)),
        ("instance_group [{ kind: KIND_CPU }]", ()),
        (
            'optimization { execution_accelerators { gpu_execution_accelerator: [{ name: "tensorrt" }] '
            'cpu_execution_accelerator: [{ name: "openvino" }] } cuda { graphs: true } }',
            ("execution accelerator tensorrt", "execution accelerator openvino", "optimization.cuda"),
        ),
        (parameter("gpu_mem_limit", "1") + parameter("depends_on", "a"), ("gpu_mem_limit",)),
        (parameter("share_session_between_instances", "true"), ("share_session_between_instances",)),
        (parameter("share_session_between_instances", "false"), ()),
    ],
)
def test_what_is_not_honoured_is_named(config: str, lost: tuple[str, ...]) -> None:
    """GPUs and accelerators are not used, and instances share nothing; parameters of others are nobody's business."""
    assert set(not_honoured(parse_config(config))) == set(lost)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"input": [{"name": "X", "allow_ragged_batch": True}]}, "its inputs are batched ragged"),
        ({"batch_input": [{}]}, "it has batch_input"),
        ({"sequence_batching": {"state": [{}]}}, "Triton keeps its state"),
        ({"input": [{"name": "X"}], "sequence_batching": {}}, ""),
    ],
)
def test_what_cannot_be_served_is_named(config: dict[str, Any], reason: str) -> None:
    """Ragged batches and implicit state need a backend in C++."""
    assert unsupported(config).startswith(reason)
    assert bool(unsupported(config)) == bool(reason)
