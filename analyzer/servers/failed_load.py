"""Make a Triton ready again after a model failed to load on it.

By default (--strict-readiness) a Triton is not ready while the last load of some model has failed, also after that
model's unload (seen with 24.10). What helps is a load that succeeds: of a stand-in under the model's name, which is
unloaded at once. The model's files are not touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from analyzer.errors import ModelError
from analyzer.servers.control import ControlClient

_CODE = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
_PYTHON: dict[str, Any] = {
    "backend": "python",
    "max_batch_size": 0,
    "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [1]}],
    "output": [{"name": "Y", "data_type": "TYPE_FP32", "dims": [1]}],
}


def clear_failure(control: ControlClient, name: str) -> None:
    """Load and unload a stand-in for a model whose last load failed; do nothing for any other model.

    Raises
    ------
    ModelError
        If no stand-in can be loaded.
    """
    if name not in control.failed():
        return
    for config, files in _stand_ins(control):
        try:
            control.load(name, json.dumps({**config, "name": name}), files=files)
        except ModelError:
            continue
        control.unload(name)
        return
    raise ModelError(f"{name} failed to load, and the server is not ready until it loads or the server is restarted")


def _stand_ins(control: ControlClient) -> Iterator[tuple[Mapping[str, Any], Mapping[str, bytes]]]:
    """Yield configurations that load without the model's files: a model in Python, an ensemble of a loaded model.

    The ensemble comes last: with it Triton also loads that model again if one of its files has changed.
    """
    yield _PYTHON, {"file:1/model.py": _CODE}
    for loaded in sorted(control.loaded()):
        try:
            config = control.config(loaded)
        except ModelError:  # it is being loaded or unloaded
            continue
        if not config.get("model_transaction_policy", {}).get("decoupled", False):
            yield _ensemble_of(config), {}
            break


def _ensemble_of(config: Mapping[str, Any]) -> dict[str, Any]:
    tensors: dict[str, list[dict[str, Any]]] = {
        side: [{key: tensor[key] for key in ("name", "data_type", "dims")} for tensor in config[side]]
        for side in ("input", "output")
    }
    maps = {f"{side}_map": {tensor["name"]: tensor["name"] for tensor in tensors[side]} for side in tensors}
    step = {"model_name": config["name"], "model_version": -1, **maps}
    return {
        "platform": "ensemble",
        "max_batch_size": config.get("max_batch_size", 0),
        **tensors,
        "ensemble_scheduling": {"step": [step]},
    }
