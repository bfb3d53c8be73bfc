"""Read GPM (GPU performance monitoring): utilizations of the parts of a GPU, on Hopper and later generations."""

from __future__ import annotations

import math

import pynvml

from analyzer.devices.nvml_device import NvmlDevice

GPM_SPAN_S = 0.1  # nvml.h asks for at least 100 ms between two GPM samples
METRICS = (
    pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL,
    pynvml.NVML_GPM_METRIC_SM_UTIL,
    pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
)


class Gpm:
    """Means of the device's counters between two GPM samples."""

    def __init__(self, gpu: NvmlDevice) -> None:
        self._gpu = gpu
        self._past, self._next = pynvml.nvmlGpmSampleAlloc(), pynvml.nvmlGpmSampleAlloc()
        self._past_s: float | None = None

    @classmethod
    def open(cls, gpu: NvmlDevice) -> Gpm | None:
        """Start monitoring; return None if the device does not support GPM."""
        support = gpu.ask("nvmlGpmQueryDeviceSupport", of_whole=True)
        if support is None or not support.isSupportedDevice:
            return None
        try:
            return cls(gpu)
        except pynvml.NVMLError:
            return None

    def read(self, now: float) -> dict[int, float]:
        """Return means since the last GPM sample in [0, 1], by metric id; empty until `GPM_SPAN_S` has passed."""
        if self._past_s is not None and now - self._past_s < GPM_SPAN_S:
            return {}
        if self._gpu.instance is None:
            taken = self._gpu.ask("nvmlGpmSampleGet", self._next)
        else:
            taken = self._gpu.ask("nvmlGpmMigSampleGet", self._gpu.instance, self._next, of_whole=True)
        if taken is None:
            return {}
        first = self._past_s is None
        metrics = {} if first else self._metrics()
        self._past, self._next, self._past_s = self._next, self._past, now
        return metrics

    def _metrics(self) -> dict[int, float]:
        query = pynvml.c_nvmlGpmMetricsGet_t()
        query.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        query.numMetrics = len(METRICS)
        query.sample1, query.sample2 = self._past, self._next
        for place, metric in enumerate(METRICS):
            query.metrics[place].metricId = metric
        try:
            pynvml.nvmlGpmMetricsGet(query)
        except pynvml.NVMLError:
            return {}
        return {
            metric.metricId: min(1.0, metric.value / 100)
            for metric in query.metrics[: len(METRICS)]
            if metric.nvmlReturn == pynvml.NVML_SUCCESS and math.isfinite(metric.value)
        }

    def close(self) -> None:
        """Free the samples."""
        for sample in (self._past, self._next):
            pynvml.nvmlGpmSampleFree(sample)
