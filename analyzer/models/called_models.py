"""Find the models that the code of a Python model calls, by the names of models in it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

from analyzer.models.content_hash import within

_REQUEST = "InferenceRequest"  # of triton_python_backend_utils: only who makes one calls a model


def models_named_in_code(folder: Path, names: Collection[str]) -> tuple[str, ...]:
    """Return those of `names` that a model's Python files have as a text, if they make requests to models at all.

    A name that the code puts together, or takes from an input, is not found.

    Parameters
    ----------
    folder : Path
        The model's folder.
    names : collection of str
        The other models of the repository.
    """
    calls, texts = False, set()
    for tree in _parsed(folder):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                calls = calls or _REQUEST in (getattr(node.func, "attr", ""), getattr(node.func, "id", ""))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return tuple(name for name in names if name in texts) if calls else ()


def _parsed(folder: Path) -> Iterator[ast.Module]:
    """Parse a model's Python files; one that cannot be read is left to Triton, which says why."""
    for path in sorted(folder.rglob("*.py")):
        try:
            within(path, folder.parent)
            yield ast.parse(path.read_bytes())
        except (OSError, ValueError, SyntaxError, RecursionError):
            continue
