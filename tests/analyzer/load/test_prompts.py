"""Test the inputs of language models: which are found, what they hold, and that prompts differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tritonclient.grpc import service_pb2

from analyzer.errors import ModelError
from analyzer.load.fresh_prompts import DIGITS, FIRST_TOKEN, OTHER, WORDS, token_ids, words
from analyzer.load.load import Load
from analyzer.load.prompts import LanguageNames, prompt_inputs, token_outputs
from analyzer.load.response_stream import TokenOutputs
from analyzer.load.sequences import first_id
from analyzer.load.workload import Workload
from analyzer.measurements.record import Trial
from analyzer.models.repository import Input, Model
from analyzer.servers import Endpoint

ENDPOINT = Endpoint(http="10.0.0.1:8000", grpc="10.0.0.1:8001", metrics_url=None, process_id=None, server="")
FLAG = {"datatype": "BOOL", "dims": (1,), "optional": True}
# as Triton completes the configurations of vLLM's backend and of TensorRT-LLM's
VLLM = Model(
    name="vllm_model",
    path=Path("m"),
    decoupled=True,
    max_batch_size=0,
    inputs=(
        Input(name="text_input", datatype="BYTES", dims=(1,)),
        Input(name="stream", **FLAG),
        Input(name="sampling_parameters", datatype="BYTES", dims=(1,), optional=True),
        Input(name="exclude_input_in_output", **FLAG),
        Input(name="return_num_input_tokens", **FLAG),
        Input(name="return_num_output_tokens", **FLAG),
    ),
    config={"output": [{"name": "text_output"}, {"name": "num_input_tokens"}, {"name": "num_output_tokens"}]},
)
TENSORRT_LLM = Model(
    name="tensorrt_llm",
    path=Path("m"),
    decoupled=True,
    max_batch_size=4,
    inputs=(
        Input(name="input_ids", datatype="INT32", dims=(-1,)),
        Input(name="input_lengths", datatype="INT32", dims=(1,)),
        Input(name="request_output_len", datatype="INT32", dims=(1,)),
        Input(name="min_length", datatype="INT32", dims=(1,), optional=True),
        Input(name="streaming", **FLAG),
    ),
)
OWN = Model(
    name="own",
    path=Path("m"),
    inputs=(Input(name="PROMPT", datatype="BYTES", dims=(-1,)), Input(name="LIMIT", datatype="UINT8", dims=(1,))),
    config={"output": [{"name": "TOKENS_IN"}, {"name": "TOKENS_OUT"}]},
)


def load_of(model: Model, workload: Workload | None = None, **point: int) -> Load:
    """Build a trial's load."""
    workload = workload or Workload()
    trial = Trial(model=model.name, transport=workload.transport(model), **point)
    with workload.build_load(ENDPOINT, model, trial) as load:
        return load


def inputs_of(load: Load, number: int) -> dict[str, bytes]:
    """Return the bytes of each input of the request with this number."""
    ((cut,),) = load.sequences
    assert cut.starts
    assert cut.ends
    request = cut.before + load.sequence_id(number) + cut.after
    assert int.from_bytes(request[1:5], "big") == len(request) - 5
    message = service_pb2.ModelInferRequest.FromString(request[5:])
    names = [entry.name for entry in message.inputs]
    return dict(zip(names, message.raw_input_contents, strict=True))


def test_vllm_gets_words_and_sampling_parameters_and_is_asked_for_tokens() -> None:
    """A prompt of 20 words, 50 tokens as a minimum and maximum, its responses one by one with their tokens."""
    sent = inputs_of(load_of(VLLM, concurrency=2, input_length=20, output_length=50), 12345)
    text = sent["text_input"][4:].decode()
    assert int.from_bytes(sent["text_input"][:4], "little") == len(text)
    assert len(text.split(" ")) == 20
    assert set(text.split(" ")) <= set(WORDS)
    assert json.loads(sent["sampling_parameters"][4:]) == {"max_tokens": 50, "min_tokens": 50, "ignore_eos": True}
    flags = {name: data for name, data in sent.items() if len(data) == 1}
    assert flags == {"stream": b"\1", "return_num_input_tokens": b"\1", "return_num_output_tokens": b"\1"}


def test_tensorrt_llm_gets_token_ids_with_their_number() -> None:
    """A prompt of 12 ids says that it has 12, and asks for 30 tokens, at the least, too; in a batch each item does."""
    sent = inputs_of(load_of(TENSORRT_LLM, concurrency=1, batch=2, input_length=12, output_length=30), 77)
    ids = [int.from_bytes(sent["input_ids"][i : i + 4], "little") for i in range(0, 96, 4)]
    assert len(sent["input_ids"]) == 2 * 12 * 4
    assert all(FIRST_TOKEN <= each < 128 for each in ids)
    assert sent["input_lengths"] == (12).to_bytes(4, "little") * 2
    assert sent["request_output_len"] == sent["min_length"] == (30).to_bytes(4, "little") * 2
    assert sent["streaming"] == b"\1\1"


def test_inputs_that_the_user_names_take_the_place_of_the_usual_ones() -> None:
    """PROMPT holds 3 words and LIMIT the number 9; a model that is not decoupled is sent over HTTP as well."""
    names = LanguageNames(prompt_input="PROMPT", output_length_input="LIMIT")
    load = load_of(OWN, Workload(names={"own": names}), concurrency=1, input_length=3, output_length=9)
    ((cut,),) = load.sequences
    request = cut.before + load.sequence_id(5) + cut.after
    assert request.endswith(words(5, 3) + b"\x09")
    assert request.startswith(b"POST /v2/models/own/infer")
    assert Workload(names={"own": names}).inputs(OWN) == "prompt_input=PROMPT;output_length_input=LIMIT"


@pytest.mark.parametrize("length", [1, 2, DIGITS, DIGITS + 1, 500])
def test_every_request_has_another_prompt_of_the_same_length(length: int) -> None:
    """1000 numbers in a row give as many prompts, or all that so few words can give, from their first words on."""
    start = first_id()
    for model, unit in ((VLLM, "text_input"), (TENSORRT_LLM, "input_ids")):
        load = load_of(model, concurrency=1, input_length=length)
        prompts = [inputs_of(load, start + i)[unit] for i in range(1000)]
        assert len({len(prompt) for prompt in prompts}) == 1
        assert len(set(prompts)) == min(1000, 64**length)
        begin = 4 + 5 * DIGITS if model is VLLM else 4 * DIGITS
        assert len({prompt[:begin] for prompt in prompts}) == min(1000, 64**length)


def test_numbers_are_written_with_as_many_bytes_and_differ_in_every_digit() -> None:
    """There are 64 words of four letters, and no digit of `OTHER` is 0."""
    assert len(set(WORDS)) == 64
    assert {len(word) for word in WORDS} == {4}
    first, other = words(0, DIGITS).split(), words(OTHER, DIGITS).split()
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert token_ids(1 + (2 << 6), 3, 2) == b"\x41\0\x42\0\x40\0"


def test_without_lengths_only_the_flags_are_set() -> None:
    """A decoupled model with optional flags is asked for a stream and for tokens; its prompt stays random."""
    found = prompt_inputs(VLLM, None, None, LanguageNames())
    assert (dict(found.asked), found.fresh) == ({}, None)
    assert set(found.defaults) == {"stream", "return_num_input_tokens", "return_num_output_tokens"}
    alone = prompt_inputs(replace(VLLM, decoupled=False), None, None, LanguageNames(), has_data=True)
    assert "stream" not in alone.defaults


@pytest.mark.parametrize(
    ("model", "lengths", "names", "said"),
    [
        (OWN, (5, None), {}, "own has no input for a prompt (text_input, input_ids): name it with `prompt_input`"),
        (OWN, (None, 5), {}, "no input for the number of tokens to answer with"),
        (OWN, (5, None), {"prompt_input": "PROMT"}, "`prompt_input`: own has no input 'PROMT'; did you mean 'PROMPT'?"),
        (OWN, (5, None), {"prompt_input": "LIMIT"}, "takes no prompt of any length"),
        (OWN, (None, 256), {"output_length_input": "LIMIT"}, "UINT8, which cannot hold 256"),
    ],
)
def test_a_model_without_such_an_input_is_an_error_that_says_how_to_name_one(
    model: Model, lengths: tuple[int | None, int | None], names: dict[str, str], said: str
) -> None:
    """The message names the model, the inputs that were looked for, and the option."""
    with pytest.raises(ModelError) as caught:
        prompt_inputs(model, *lengths, LanguageNames(**names))
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_outputs_that_report_tokens_are_the_usual_ones_or_those_named() -> None:
    """vLLM's names are known; others are named, and a name that the model does not have is an error."""
    assert token_outputs(VLLM, LanguageNames()) == TokenOutputs(
        input_tokens="num_input_tokens", output_tokens="num_output_tokens"
    )
    assert token_outputs(OWN, LanguageNames()) == TokenOutputs()
    assert token_outputs(OWN, LanguageNames(output_tokens_output="TOKENS_OUT")).output_tokens == "TOKENS_OUT"
    with pytest.raises(ModelError, match="`output_tokens_output`: own has no output 'X'"):
        token_outputs(OWN, LanguageNames(output_tokens_output="X"))
