"""Apply a variant to a model's configuration.                                                             [pure]"""

from __future__ import annotations

import copy
from typing import Any

from analyzer.errors import ModelError
from analyzer.measurements.record import Variant


def variant_config(model_config: dict[str, Any], variant: Variant) -> dict[str, Any]:
    """Apply a variant to a model's whole configuration, for the load API's override.

    Of several instance groups only the first is kept, with the variant's count, so that the model has that many
    instances in total. Preferred batch sizes above a smaller `max_batch_size` are dropped.

    Raises
    ------
    ModelError
        If the model cannot have the variant: an ensemble has no instances of its own, and Triton batches
        sequences and ensembles in ways that exclude dynamic batching.
    """
    config = copy.deepcopy(model_config)
    scheduler = next((key for key in ("ensemble_scheduling", "sequence_batching") if key in config), None)
    if variant.max_batch_size is not None:
        config["max_batch_size"] = variant.max_batch_size
    if variant.instances is not None:
        if scheduler == "ensemble_scheduling":
            raise ModelError("an ensemble has no instances of its own; vary those of its steps")
        groups = config.get("instance_group") or [{}]
        config["instance_group"] = [{**groups[0], "count": variant.instances}]
    if variant.dynamic_batching:
        if scheduler is not None:
            raise ModelError(f"dynamic batching cannot be switched on beside {scheduler}")
        delay_us = round(variant.max_queue_delay_s * 1e6)
        batching = {**config.get("dynamic_batching", {}), "max_queue_delay_microseconds": delay_us}
        config["dynamic_batching"] = batching
    elif variant.dynamic_batching is False:
        config.pop("dynamic_batching", None)
    preferred = config.get("dynamic_batching", {}).get("preferred_batch_size")
    if preferred:
        fitting = [size for size in preferred if size <= config.get("max_batch_size", 0)]
        config["dynamic_batching"]["preferred_batch_size"] = fitting
    return config
