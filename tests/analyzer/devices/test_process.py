"""Test the sampler of a host without a GPU on real process trees."""

from __future__ import annotations

import subprocess
import time

import pytest

from analyzer.devices.process import SCAN_INTERVAL_S, ProcessSampler, _machine_id, host, processors
from analyzer.devices.process_tree import Process, ProcessTree, busy_between
from analyzer.errors import DeviceError
from tests.builders.process_tree import tree

MIB = 2**20


def memory_of(sampler: ProcessSampler) -> int:
    """Return the memory of the process tree, including its newest children."""
    time.sleep(SCAN_INTERVAL_S)
    memory = sampler.read().memory_bytes
    assert memory is not None
    return memory


def process(*, own_s: float, reaped_s: float = 0.0, started: int = 1) -> Process:
    return Process(parent=1, started=started, alive=True, own_s=own_s, reaped_s=reaped_s)


def test_memory_counts_children():
    """A child's memory counts for the tree, within 3 %, until the child ends."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
        parent.do("child('')")
        before = memory_of(sampler)
        parent.do(f"child('held = bytearray({256 * MIB}); held[::4096] = bytes([1]) * ({256 * MIB} // 4096)')")
        holding = memory_of(sampler)
        parent.do("end()")
        after = memory_of(sampler)
        # On top of the 256 MiB come the interpreter's own pages, some 4 MiB.
        assert holding - before == pytest.approx(256 * MIB, rel=0.03)
        assert abs(after - before) < 3 * MIB  # other programs of this host share the interpreter's pages


def test_memory_follows_growth_between_two_exact_readings():
    """64 MiB that are taken and freed between two exact readings are seen, within 3 %."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
        levels = [sampler.read().memory_bytes]
        parent.do(f"held = b'x' * {64 * MIB}")
        levels.append(sampler.read().memory_bytes)
        parent.do("del held")
        levels.append(sampler.read().memory_bytes)
        assert levels[1] - levels[0] == pytest.approx(64 * MIB, rel=0.03)
        assert abs(levels[2] - levels[0]) < 2 * MIB


def test_memory_is_right_while_it_grows():
    """A process that grew while its pages were counted was once shown too large in every later reading."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
        start = sampler.read().memory_bytes
        parent.do("import threading; parts = []; import itertools")
        parent.do("grow = lambda: [parts.append(b'x' * 2**20) for _ in range(256)]")
        parent.do("thread = threading.Thread(target=grow); thread.start()")
        end_s = time.perf_counter() + 0.4
        while time.perf_counter() < end_s:
            reading = sampler.read()
            assert reading.memory_bytes - start < 264 * MIB  # 256 and 3 % of it
        parent.do("thread.join()")
        assert sampler.read().memory_bytes - start == pytest.approx(256 * MIB, rel=0.03)


def test_memory_counts_a_shared_page_once():
    """64 MiB that a parent and its two forks share count as 64 MiB; the sum of resident memory would be 192."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
        before = memory_of(sampler)
        parent.do(f"held = b'x' * {64 * MIB}")
        parent.do("import signal; forks = []; pid = os.fork(); forks.append(pid) if pid else signal.pause()")
        parent.do("pid = os.fork(); forks.append(pid) if pid else signal.pause()")
        shared = memory_of(sampler)
        parent.do("[(os.kill(pid, 9), os.waitpid(pid, 0)) for pid in forks]")
        assert shared - before == pytest.approx(64 * MIB, rel=0.1)  # the forks' own pages on top


def test_utilization_is_the_share_of_all_processors():
    """Utilization is the busy time divided by the time passed and the number of processors: 0.3 s on one of them."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
        first = sampler.read()
        assert first.utilization is None  # nothing to compare with yet
        parent.do("spin(0.3)")
        reading = sampler.read()
        wall_s = reading.time_s - first.time_s
        assert reading.utilization is not None
        assert reading.utilization == pytest.approx(0.3 / wall_s / processors(), rel=0.1)


def test_utilization_makes_no_jump_when_a_busy_child_ends():
    """When a child ends, its earlier processor time, now in its parent's sum over children, is not counted again."""
    with tree() as parent:
        parent.do("child('import time\\nwhile time.process_time() < 0.4: pass')")
        sampler = ProcessSampler(parent.pid)
        sampler.read()
        parent.do("end()")
        time.sleep(SCAN_INTERVAL_S)
        utilization = sampler.read().utilization
        # If it were counted, the child's 0.4 s would appear within 0.1 s.
        assert utilization is not None
        assert utilization * processors() * SCAN_INTERVAL_S < 0.1


def test_utilization_counts_a_child_that_came_and_went_between_readings():
    """The processor time of a child that no reading saw counts for the tree."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
        start = sampler.read().time_s
        parent.do("child('import time\\nwhile time.process_time() < 0.3: pass'); end()")
        reading = sampler.read()
        assert reading.utilization is not None
        assert reading.utilization * processors() * (reading.time_s - start) >= 0.29


def test_utilization_waits_until_the_span_has_passed():
    """Two readings in quick succession give None instead of the rate over a moment."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
        sampler.read()
        assert sampler.read().utilization is None


def test_busy_time_is_worked_out_over_births_deaths_and_reuse():
    """Busy time is right over a new process, two that ended (one reaped, one not) and a reused process id."""
    before = {
        1: process(own_s=10.0, reaped_s=2.0),
        2: process(own_s=5.0),
        3: process(own_s=7.0),
        4: process(own_s=9.0, started=1),
    }
    after = {
        1: process(own_s=10.5, reaped_s=7.25),  # waited for 2, which had used 0.25 s more by then
        4: process(own_s=0.125, started=2),  # another process with the same pid
        5: process(own_s=0.5),  # new
    }
    # own: 0.5 + 0.125 + 0.5 = 1.125; reaped: 5.25 minus the earlier time of those that ended, 5 + 7 > 5.25, so 0.
    assert busy_between(before, after) == pytest.approx(1.125)
    del before[3]
    # Without the unreaped death: 5.25 - 5 = 0.25 more.
    assert busy_between(before, after) == pytest.approx(1.375)


def test_reading_raises_when_the_root_is_gone():
    """If the server has ended, reading raises a DeviceError that names the process."""
    with tree() as parent:
        sampler = ProcessSampler(parent.pid)
    with pytest.raises(DeviceError, match=str(parent.pid)):
        sampler.read()
    with pytest.raises(DeviceError, match="is gone"):
        ProcessSampler(parent.pid)


def test_reading_raises_when_the_root_is_a_zombie():
    """A killed server that its parent has not waited for counts as ended."""
    with tree() as parent:
        parent.do("child('')")
        child = max(ProcessTree(parent.pid).read())
        sampler = ProcessSampler(child)
        parent.do("children[-1].kill(); time.sleep(0.1)")
        with pytest.raises(DeviceError, match=str(child)):
            sampler.read()


def test_tree_keeps_a_child_whose_parent_died():
    """A process that outlives its parent stays in the tree, because it still holds memory."""
    with tree() as parent:
        follow = ProcessTree(parent.pid)
        parent.do("import signal; outer = os.fork(); outer or (os.fork(), signal.pause())")
        time.sleep(0.2)  # the second fork
        tree_before = set(follow.read())
        assert len(tree_before) == 3
        parent.do("os.kill(outer, 9); os.waitpid(outer, 0)")
        tree_after = set(follow.read())
        assert len(tree_after) == 2
        (orphan,) = tree_after - {parent.pid}
        subprocess.run(["kill", "-9", str(orphan)], check=True)


def test_machine_id_is_stable_and_not_the_secret_one(tmp_path):
    """The id is a hash of machine-id(5), which must stay private; without that file it is a hash of the host's name."""
    file = tmp_path / "machine-id"
    file.write_text("0123456789abcdef0123456789abcdef\n")
    assert _machine_id([file]) == _machine_id([tmp_path / "absent", file]) != "0123456789abcdef0123456789abcdef"
    unnamed = _machine_id([tmp_path / "absent"])
    assert unnamed == _machine_id([]) != _machine_id([file])
    file.write_text("uninitialized\n")
    assert _machine_id([file]) == unnamed


def test_host_is_described_by_its_kernel():
    """Name and memory are those of this machine; a host has no driver."""
    device = host()
    meminfo = dict(line.split(":") for line in open("/proc/meminfo"))  # noqa: PTH123, SIM115
    assert device.memory_bytes == int(meminfo["MemTotal"].split()[0]) * 1024
    assert str(processors()) in device.name
    assert len(device.uuid) == 32
    assert device.driver is None
