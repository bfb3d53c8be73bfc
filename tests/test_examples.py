"""Test that the examples in the docstrings of the Python API give the output that they show."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import analyzer
import planner
import reports

ROOT = Path(__file__).parent.parent
NEEDS_TRITON = {"measure", "verify"}  # run by tests/live/test_python_api.py
API = {
    f"{package.__name__}.{name}": (package, name)
    for package in (analyzer, planner, reports)
    for name in package.__all__
}


def examples(name: str) -> list[doctest.DocTest]:
    """Find the examples of one name of the API, including those of its methods."""
    package, short = API[name]
    found = doctest.DocTestFinder(exclude_empty=True).find(getattr(package, short), name)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", sorted(n for n in API if n.split(".")[1] not in NEEDS_TRITON and examples(n)))
def test_example_gives_the_output_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example, run in the root of the repository, gives the output in its docstring."""
    monkeypatch.chdir(ROOT)
    for test in examples(name):
        report: list[str] = []
        doctest.DocTestRunner(verbose=False).run(test, out=report.append)
        assert not report, "".join(report)


@pytest.mark.parametrize("name", sorted(API))
def test_name_is_explained_and_functions_have_an_example(name: str) -> None:
    """Each name of the API has a docstring, and each function an example."""
    package, short = API[name]
    offered = getattr(package, short)
    assert offered.__doc__
    assert isinstance(offered, type) or examples(name)
