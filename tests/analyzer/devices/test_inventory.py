"""Which GPU an option means."""

from __future__ import annotations

import pytest

from analyzer.devices.inventory import Gpu, Gpus, select_gpus
from analyzer.errors import UsageError


def gpu(index: str, uuid: str) -> Gpu:
    return Gpu(index=index, uuid=uuid, name="T4", memory_bytes=1, mig=False)


GPUS = Gpus(present=(gpu("0", "GPU-ab1"), gpu("1", "GPU-ab2"), gpu("2:0", "MIG-c")))


def test_gpus_are_chosen_by_index_uuid_or_beginning():
    """In the order they were named."""
    chosen = select_gpus(GPUS, ["MIG", "0", "GPU-ab2"])
    assert [one.index for one in chosen] == ["2:0", "0", "1"]
    assert select_gpus(GPUS, []) == ()


@pytest.mark.parametrize(
    ("wanted", "fact"),
    [
        (["3"], "'3' is not on this host"),
        (["GPU-ab"], "'GPU-ab' means several"),
        ([""], "'' is not on"),
        (["0", "GPU-ab1"], "'GPU-ab1' is named twice"),
    ],
)
def test_a_wrong_gpu_is_a_usage_error(wanted, fact):
    """The message has the fact and the value."""
    with pytest.raises(UsageError, match=fact):
        select_gpus(GPUS, wanted)


def test_a_wrong_gpu_lists_those_present():
    """The way out is to name one of those, or the reason why there is none."""
    with pytest.raises(UsageError, match=r"0 \(T4, GPU-ab1\), 1 \(T4, GPU-ab2\)"):
        select_gpus(GPUS, ["9"])
    with pytest.raises(UsageError, match="no driver"):
        select_gpus(Gpus(present=(), why_none="no driver"), ["0"])
