"""Make names that a target's format accepts, different for different names.                                 [pure]"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from urllib.parse import quote

from planner.placement.placed_gpu import SlicePosition

_HASH_DIGITS = 8
WHOLE_GPU = "nvidia.com/gpu"


def dns_label(text: str, *, most: int = 63) -> str:
    """Return the text as a label of RFC 1123 and 1035: a letter, then a-z, 0-9 and ``-``, no ``-`` at the end.

    It may be equal for different texts; `unique` keeps them apart.
    """
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not label[:1].isalpha():
        label = f"m-{label}" if label else "m"
    return label[:most].rstrip("-")


def gpu_resource(position: SlicePosition | None) -> str:
    """Return the Kubernetes resource of a slice under the mixed MIG strategy, or of a whole GPU."""
    return WHOLE_GPU if position is None else f"nvidia.com/mig-{position.profile.replace('+', '.')}"


def is_plain_in_path(name: str) -> bool:
    """Say whether a path can have the name as it is; Triton 24.10 does not decode percent-encoded paths."""
    return quote(name, safe="") == name


def identifier(text: str, *, most: int = 63) -> str:
    """Return the text as an identifier: a letter or ``_``, then letters, digits and ``_``."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text)
    return (name if name[:1].isalpha() or name[:1] == "_" else f"_{name}")[:most]


def unique(names: Iterable[str], legal: Callable[..., str] = dns_label, *, most: int = 63) -> dict[str, str]:
    """Return a legal name for each of the names, different for different ones.

    A name that is legal already is kept. One whose legal form is taken, or that would be cut off, ends with eight
    digits of its SHA-256, so what it is called does not depend on the order of the names.

    Parameters
    ----------
    legal : callable
        Makes one name legal, within `most` characters; it must accept letters, digits and what it puts between them.

    Examples
    --------
    >>> from planner.export.names import unique
    >>> unique(["bert", "BERT", "résumé 2"])
    {'bert': 'bert', 'BERT': 'bert-f50feb7a', 'résumé 2': 'r-sum-2-3ec7c3a4'}
    """
    wanted = list(dict.fromkeys(names))
    form = {name: legal(name, most=most) for name in wanted}
    counted = Counter(form.values())
    found = {}
    for name in wanted:
        kept = form[name]
        if kept != name and (counted[kept] > 1 or len(legal(name, most=most + 1)) > most or not _readable(name)):
            digits = hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
            kept = legal(f"{legal(name, most=most - _HASH_DIGITS - 1)}-{digits}", most=most)
        found[name] = kept
    assert len(set(found.values())) == len(found), "two names of 63 characters differ in nothing but a hash collision"
    return found


def _readable(name: str) -> bool:
    """Say whether only capitals and ``_ .`` are changed, so that the legal name is recognized."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name) is not None
