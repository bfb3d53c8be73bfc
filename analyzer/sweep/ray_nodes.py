"""Ask each node of a Ray cluster what it has, and give it the model repository that is measured."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from analyzer import __version__
from analyzer.errors import ServerError, TritonpackError, UsageError
from analyzer.models.fetch import fetched
from analyzer.models.repository import Model, select
from analyzer.servers import Server
from analyzer.servers.backends import known_backends, own_backends
from analyzer.servers.choose import Launch, choose_server
from analyzer.sweep.ray_cluster import RayNode
from analyzer.sweep.remote import sample_models

_ANSWER_TIMEOUT_S = 60.0  # of a node whose file system is cold, and that starts the process that answers
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySource:
    """Where the nodes find the model repository, and what they must find there.

    Parameters
    ----------
    folder : Path or None
        The folder, at the same path on every node; None for the sample models of each.
    uri : str or None
        Where each node fetches it instead.
    models : mapping of str to Model
        The repository's models as they are here, by name.
    names : collection of str
        The models that are measured.
    hashes : mapping of str to str
        Their content hashes here; see `Model`.
    """

    folder: Path | None
    uri: str | None
    models: Mapping[str, Model]
    names: Collection[str]
    hashes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a node has.

    Parameters
    ----------
    server : Server
        How Triton is started on it.
    why : str
        Why so.
    backends : collection of str or None
        See `known_backends`.
    own : mapping of str to str
        See `own_backends`.
    cores : tuple of int
        The processors that may be used.
    """

    server: Server
    why: str
    backends: Collection[str] | None
    own: Mapping[str, str]
    cores: tuple[int, ...]


class _NodeActor:
    """Runs on a node, once for all of its workers; what it fetched is removed when it ends."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def facts(self, version: str, launch: Launch) -> NodeFacts | TritonpackError:
        if version != __version__:
            return ServerError(f"has tritonpack {__version__}, and this host {version}: install the same")
        try:
            server, why = choose_server(launch)
        except TritonpackError as error:
            return error
        cores = tuple(sorted(os.sched_getaffinity(0)))
        return NodeFacts(
            server=server, why=why, backends=known_backends(server), own=dict(own_backends(server)), cores=cores
        )

    def repository(self, source: RepositorySource) -> Path | TritonpackError:
        """Return where the repository is on this node, fetched if need be, if its models are the same as here."""
        try:
            folder = self._stack.enter_context(fetched(source.uri)) if source.uri else source.folder or sample_models()
            check_models(folder, source)
        except TritonpackError as error:
            return error
        return folder

    def close(self) -> None:
        """Remove what was fetched."""
        self._stack.close()


def check_models(folder: Path, source: RepositorySource) -> None:
    """Compare the models of a folder with those of the driver.

    Raises
    ------
    UsageError
        If the folder or a model is not there, or the content of one is not the same.
    """
    if not folder.is_dir():
        raise UsageError(
            f"has no folder {folder}: share it with all nodes, or have each fetch the repository with `model_uri`"
        )
    here = tuple(replace(model, path=folder / model.name) for model in source.models.values())
    for found in select(here, source.names):
        expected = source.hashes[found.name]
        if found.content_hash == expected:
            continue
        what = found.error or f"content hash {found.content_hash[:12]}, and not {expected[:12]}"
        raise UsageError(
            f"has another {found.name} in {folder} than this host ({what}): copy it there, or have each node fetch the "
            "repository with `model_uri`"
        )


class NodeActors:
    """A context manager: an actor on each node that answers for it; they have ended when it ends."""

    def __init__(self, nodes: Iterable[RayNode]) -> None:
        self._nodes = tuple(nodes)
        self._actors: dict[RayNode, Any] = {}

    def __enter__(self) -> NodeActors:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        for node in self._nodes:
            here = NodeAffinitySchedulingStrategy(node.id, soft=False)
            actor = ray.remote(_NodeActor).options(num_cpus=0, num_gpus=0, scheduling_strategy=here).remote()
            self._actors[node] = actor
        return self

    def __exit__(self, *exc_info: object) -> None:
        import ray

        closing = [actor.close.remote() for actor in self._actors.values()]
        ray.wait(closing, num_returns=len(closing), timeout=_ANSWER_TIMEOUT_S)
        for actor in self._actors.values():
            ray.kill(actor)

    def facts(self, launch: Launch) -> dict[RayNode, NodeFacts | TritonpackError]:
        """Ask every node what it has; a failure is why a node cannot be used."""
        asked = {node: actor.facts.remote(__version__, launch) for node, actor in self._actors.items()}
        return self._answers(asked, _ANSWER_TIMEOUT_S)

    def repositories(self, source: RepositorySource, nodes: Iterable[RayNode]) -> dict[RayNode, Path]:
        """Have nodes find or fetch the repository, and check it; a node that is lost meanwhile has none.

        Raises
        ------
        UsageError
            If one of them cannot, or has other models; the message names the nodes.
        """
        import ray

        given = ray.put(source)
        answers = self._answers({node: self._actors[node].repository.remote(given) for node in nodes}, None)
        failed = {node: answer for node, answer in answers.items() if isinstance(answer, UsageError)}
        if failed:
            (node, failure), *others = failed.items()
            also = f" (and {len(others)} more: {_listed(others)})" if others else ""
            raise UsageError(f"node {node.name}{also} {failure.message}")
        return {node: answer for node, answer in answers.items() if isinstance(answer, Path)}

    @staticmethod
    def _answers(asked: Mapping[RayNode, Any], timeout_s: float | None) -> dict[RayNode, Any]:
        import ray

        ray.wait(list(asked.values()), num_returns=len(asked), timeout=timeout_s)
        answers: dict[RayNode, Any] = {}
        for node, ref in asked.items():
            try:
                answers[node] = ray.get(ref, timeout=0.1)
            except ray.exceptions.GetTimeoutError:
                answers[node] = ServerError(f"does not answer within {timeout_s:g} s")
            except ray.exceptions.RayError as error:
                missing = "No module named" in str(error)
                why = "has no tritonpack: install it there" if missing else f"does not answer: {_reason(error)}"
                answers[node] = ServerError(why)
        return answers


def _listed(others: Sequence[tuple[RayNode, Any]]) -> str:
    return ", ".join(node.name for node, _ in others)


def _reason(error: BaseException) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)[
        :200
    ]
