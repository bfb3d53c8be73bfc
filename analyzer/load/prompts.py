"""Build the inputs of a language model's requests: prompts of a length, the tokens asked for, and what it is to report.

A model is told by rules, in this order: the inputs and outputs that the user names, else those of Triton's vLLM and
TensorRT-LLM backends.

Sources: vllm_backend, src/model.py and src/utils/request.py; tensorrtllm_backend, all_models/inflight_batcher_llm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analyzer.errors import ModelError
from analyzer.formats.suggestions import suggest
from analyzer.load.fresh_prompts import FIRST_TOKEN, WORDS, Encoder, token_encoder, word_encoder
from analyzer.load.response_stream import INTEGER_BYTES, TokenOutputs

if TYPE_CHECKING:
    import numpy as np

    from analyzer.models.repository import Input, Model

    Array = np.ndarray[Any, Any]

_PROMPTS = ("text_input", "input_ids")
_OUTPUT_LENGTHS = ("max_tokens", "request_output_len", "sampling_parameters")
_LEAST_OUTPUT_LENGTHS = ("min_tokens", "min_length")  # without one, a model may stop at its end token
_PROMPT_LENGTH = "input_lengths"  # beside input_ids
_STREAMING = ("stream", "streaming")  # without it, vLLM and TensorRT-LLM send one response
_REPORTING = ("return_num_input_tokens", "return_num_output_tokens")
_INPUT_TOKENS, _OUTPUT_TOKENS = "num_input_tokens", "num_output_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageNames:
    """What a model calls its inputs and outputs of a language model; None where the rule finds them.

    Parameters
    ----------
    prompt_input : str or None
        Holds the prompt, as text or as token ids.
    output_length_input : str or None
        Takes the number of tokens to answer with: an integer, or a text with vLLM's sampling parameters as JSON.
    input_tokens_output, output_tokens_output : str or None
        Outputs that report the tokens of the request, and of the response that they are part of.
    """

    prompt_input: str | None = None
    output_length_input: str | None = None
    input_tokens_output: str | None = None
    output_tokens_output: str | None = None

    @property
    def given(self) -> list[str]:
        """Those that are named, in the form of `Trial.inputs`."""
        return [f"{name}={value}" for name in self.__slots__ if (value := getattr(self, name)) is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshPrompt:
    """Where the part of a prompt lies that differs from request to request.

    Parameters
    ----------
    name : str
        The input.
    offset : int
        Where it begins in the tensor's bytes.
    encode : callable
        Writes it from a number.
    """

    name: str
    offset: int
    encode: Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInputs:
    """The values of a language model's inputs, without the batch dimension, which win over any others.

    Parameters
    ----------
    asked : mapping of str to ndarray
        What the lengths of a trial ask for.
    defaults : mapping of str to ndarray
        What makes the model send its responses one by one, and report tokens; data of the user win over them.
    fresh : FreshPrompt or None
        Of a prompt that is made here.
    """

    asked: Mapping[str, Array] = field(default_factory=dict)
    defaults: Mapping[str, Array] = field(default_factory=dict)
    fresh: FreshPrompt | None = None


def prompt_inputs(
    model: Model,
    input_length: int | None,
    output_length: int | None,
    names: LanguageNames,
    *,
    seed: int = 0,
    has_data: bool = False,
) -> PromptInputs:
    """Build the values of the inputs by which a request is one of a language model.

    Parameters
    ----------
    input_length, output_length : int or None
        Words or token ids of the prompt, and tokens to ask for; None leaves the inputs to others.
    has_data : bool
        Whether the user's data are sent: they say whether responses come one by one.

    Raises
    ------
    ModelError
        If the model has no such input; the message says how to name it.
    """
    import numpy as np

    check_names(model, names)
    inputs = {entry.name: entry for entry in model.inputs}
    asked: dict[str, Array] = {}
    fresh = None
    if input_length is not None:
        entry = _find(model, names.prompt_input, _PROMPTS, "a prompt", "prompt_input")
        asked[entry.name], fresh = _prompt(entry, input_length, seed)
        if _PROMPT_LENGTH in inputs and entry.datatype != "BYTES":
            asked[_PROMPT_LENGTH] = _number(inputs[_PROMPT_LENGTH], input_length)
    if output_length is not None:
        words = "the number of tokens to answer with"
        entry = _find(model, names.output_length_input, _OUTPUT_LENGTHS, words, "output_length_input")
        asked[entry.name] = _output_length(entry, output_length)
        least = [inputs[name] for name in _LEAST_OUTPUT_LENGTHS if name in inputs and inputs[name].optional]
        asked |= {each.name: _number(each, output_length) for each in least}
    switches = (*_REPORTING, *(() if has_data or not model.decoupled else _STREAMING))
    defaults = {
        name: np.ones(_shape(inputs[name]), dtype=bool)
        for name in switches
        if name in inputs and inputs[name].datatype == "BOOL" and inputs[name].optional
    }
    return PromptInputs(asked=asked, defaults=defaults, fresh=fresh)


def check_names(model: Model, names: LanguageNames) -> None:
    """Check that a model has the inputs that the user names.

    Raises
    ------
    ModelError
        For the first one that it does not have.
    """
    inputs = [entry.name for entry in model.inputs]
    for option in ("prompt_input", "output_length_input"):
        named = getattr(names, option)
        if named is not None and named not in inputs:
            raise ModelError(f"`{option}`: {model.name} has no input {named!r}; {suggest(named, inputs)}")


def token_outputs(model: Model, names: LanguageNames) -> TokenOutputs:
    """Return the outputs with which a model reports tokens.

    Raises
    ------
    ModelError
        If it has none with the name that the user gave.
    """
    declared = [str(entry.get("name", "")) for entry in (model.config or {}).get("output", [])]
    found = []
    for option, given, default in (
        ("input_tokens_output", names.input_tokens_output, _INPUT_TOKENS),
        ("output_tokens_output", names.output_tokens_output, _OUTPUT_TOKENS),
    ):
        if given is not None and given not in declared:
            raise ModelError(f"`{option}`: {model.name} has no output {given!r}; {suggest(given, declared)}")
        found.append(given or (default if default in declared else ""))
    return TokenOutputs(input_tokens=found[0], output_tokens=found[1])


def _find(model: Model, named: str | None, defaults: Sequence[str], words: str, option: str) -> Input:
    """Return the input that is named, or else the first of the usual ones that a model has."""
    inputs = {entry.name: entry for entry in model.inputs}
    for name in defaults if named is None else [named]:
        if name in inputs:
            return inputs[name]
    raise ModelError(
        f"{model.name} has no input for {words} ({', '.join(defaults)}): name it with `{option}`, or leave the model "
        f"out with `model_names`; it has {', '.join(inputs)}"
    )


def _prompt(entry: Input, length: int, seed: int) -> tuple[Array, FreshPrompt]:
    """Build a prompt of words or token ids, whose beginning is that of the number 0."""
    import numpy as np

    generator = np.random.default_rng(seed)
    if entry.datatype == "BYTES":
        encode = word_encoder(length)
        rest = [WORDS[i] for i in generator.integers(0, len(WORDS), size=length)[encode(0).count(b" ") + 1 :]]
        values = np.empty(_shape(entry), dtype=object)
        values.fill(" ".join([encode(0).decode(), *rest]).encode())
        return values, FreshPrompt(name=entry.name, offset=4, encode=encode)  # a text follows its length in 4 bytes
    size = INTEGER_BYTES.get(entry.datatype)
    if size is None or entry.dims.count(-1) != 1 or any(n not in (-1, 1) for n in entry.dims):
        dims = ",".join(map(str, entry.dims))
        raise ModelError(
            f"input {entry.name} ({entry.datatype} {dims}) takes no prompt of any length: that is one of type BYTES, "
            "or integers with one variable dimension"
        )
    encode = token_encoder(length, size)
    ids = generator.integers(FIRST_TOKEN, 2 * FIRST_TOKEN, size=length).astype(entry.datatype.lower())
    begin = np.frombuffer(encode(0), dtype=ids.dtype.newbyteorder("<"))
    ids[: len(begin)] = begin
    shape = tuple(length if n == -1 else n for n in entry.dims)
    return ids.reshape(shape), FreshPrompt(name=entry.name, offset=0, encode=encode)


def _output_length(entry: Input, length: int) -> Array:
    import numpy as np

    if entry.datatype != "BYTES":
        return _number(entry, length)
    values = np.empty(_shape(entry), dtype=object)
    # vLLM takes numbers and truth values in this JSON; all three, so that no end token ends the answer early
    values.fill(json.dumps({"max_tokens": length, "min_tokens": length, "ignore_eos": True}).encode())
    return values


def _number(entry: Input, value: int) -> Array:
    import numpy as np

    if entry.datatype not in INTEGER_BYTES:
        raise ModelError(f"input {entry.name} is {entry.datatype}, and a number of tokens is an integer")
    if value > np.iinfo(entry.datatype.lower()).max:
        raise ModelError(f"input {entry.name} is {entry.datatype}, which cannot hold {value}")
    return np.full(_shape(entry), value, dtype=entry.datatype.lower())


def _shape(entry: Input) -> tuple[int, ...]:
    """Return an input's dimensions with one value in each variable one."""
    return tuple(1 if n == -1 else n for n in entry.dims)
