"""Give every request a prompt of its own, so that no server can answer it from its cache of earlier prompts.

The beginning of a prompt is made of the digits of a number that is not used again: a prefix cache compares prompts from
their beginning. The module imports nothing beyond the standard library, because it runs in the load generator's
process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from analyzer.load.sequences import SequenceRequest

# 64 frequent words of four letters: in the vocabularies of language models each is one token, as a rule
_TEXT = (
    "time year work life hand part case week home fact room side kind head line name body back face door team idea "
    "book word game food hour city land form view road town plan love note list size rate care news loss area unit "
    "test tree fire wind rain snow gold iron wood coal salt milk meat fish bird lake hill sand boat ship "
)
WORDS = [_TEXT[start : start + 4] for start in range(0, len(_TEXT), 5)]
FIRST_TOKEN = 64  # the 64 token ids from here on are in every vocabulary, and above the usual special tokens
DIGITS = 8  # units, words or token ids, that differ from prompt to prompt: 2**48 of them
_BITS = 6
OTHER = sum(1 << _BITS * place for place in range(DIGITS))  # a number of which every digit differs from those of 0

Encoder = Callable[[int], bytes]  # of a number, always with the same number of bytes


def words(number: int, count: int) -> bytes:
    """Write a number as words."""
    return " ".join(WORDS[number >> _BITS * place & 63] for place in range(count)).encode()


def token_ids(number: int, count: int, size: int) -> bytes:
    """Write a number as token ids of `size` bytes each."""
    ids = (FIRST_TOKEN + (number >> _BITS * place & 63) for place in range(count))
    return b"".join(each.to_bytes(size, "little") for each in ids)


def word_encoder(length: int) -> Encoder:
    """Return what writes the beginning of a prompt of this many words."""
    return partial(words, count=min(length, DIGITS))


def token_encoder(length: int, size: int) -> Encoder:
    """Return what writes the beginning of a prompt of this many token ids of `size` bytes."""
    return partial(token_ids, count=min(length, DIGITS), size=size)


def cut_at_prompt(encoded: bytes, with_other: bytes, span: int) -> SequenceRequest:
    """Cut an encoded request at the beginning of its prompt, so that it can be sent with any other.

    Parameters
    ----------
    encoded, with_other : bytes
        The request with the beginnings 0 and `OTHER`.
    span : int
        Bytes of a beginning.
    """
    start = next(place for place, (one, other) in enumerate(zip(encoded, with_other, strict=True)) if one != other)
    return SequenceRequest(encoded[:start], encoded[start + span :], starts=True, ends=True)
