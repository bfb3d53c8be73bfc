"""Test the selection of GPUs by index, UUID or the first characters of a UUID."""

from __future__ import annotations

import pytest

from analyzer.devices.inventory import Gpu, Gpus, select_gpus
from analyzer.errors import UsageError


def gpu(index: str, uuid: str) -> Gpu:
    return Gpu(index=index, uuid=uuid, name="T4", memory_bytes=1, mig=False)


GPUS = Gpus(present=(gpu("0", "GPU-ab1"), gpu("1", "GPU-ab2"), gpu("2:0", "MIG-c")))


def test_gpus_are_chosen_by_index_uuid_or_prefix():
    """GPUs are returned in the order in which they are named."""
    chosen = select_gpus(GPUS, ["MIG", "0", "GPU-ab2"])
    assert [one.index for one in chosen] == ["2:0", "0", "1"]
    assert select_gpus(GPUS, []) == ()


@pytest.mark.parametrize(
    ("wanted", "fact"),
    [
        (["3"], "'3' is not on this host"),
        (["GPU-ab"], "'GPU-ab' fits several"),
        ([""], "'' is not on"),
        (["0", "GPU-ab1"], "'GPU-ab1' is named twice"),
    ],
)
def test_a_wrong_gpu_is_a_usage_error(wanted, fact):
    """The message says what is wrong, with the value."""
    with pytest.raises(UsageError, match=fact):
        select_gpus(GPUS, wanted)


def test_a_wrong_gpu_lists_those_present():
    """The message lists the GPUs of the host, or says why it has none."""
    with pytest.raises(UsageError, match=r"0 \(T4, GPU-ab1\), 1 \(T4, GPU-ab2\)"):
        select_gpus(GPUS, ["9"])
    with pytest.raises(UsageError, match="no driver"):
        select_gpus(Gpus(present=(), why_none="no driver"), ["0"])
