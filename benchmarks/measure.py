"""Median and spread, CPU time of processes from /proc, counters of the server. Knows no scenario. Linux only."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

_TICKS = os.sysconf("SC_CLK_TCK")


class Spread(Struct, frozen=True):
    """The median of several runs, the lowest and highest of them, and an interval for the median."""

    median: float
    low: float
    high: float
    runs: int
    interval: tuple[float, float] = (0.0, 0.0)
    """Holds the true median with a probability of 95 % or more, for any distribution; of fewer than six runs
    the lowest and highest, which hold it with less: 94 % of five, 75 % of three."""

    @property
    def width(self) -> float:
        """Of the interval, as a part of the median; 0 if the median is 0."""
        return (self.interval[1] - self.interval[0]) / abs(self.median) if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    ranked = sorted(values)
    outside = _outside(len(ranked))
    return Spread(
        statistics.median(ranked), ranked[0], ranked[-1], len(ranked), (ranked[outside], ranked[-1 - outside])
    )


def _outside(count: int) -> int:
    """How many of the lowest, and as many of the highest, an interval of 95 % for the median leaves out.

    Each value is below the true median with probability one half, so the number below it is binomial.
    """
    outside, below = 0, 0.5**count
    while outside < (count - 1) // 2:
        below += math.comb(count, outside + 1) * 0.5**count
        if 2 * below > 0.05:
            break
        outside += 1
    return outside


def percentile(values: Sequence[float], part: float) -> float:
    """The lowest value that `part` (0 to 1) of the values do not exceed; a measured one, never one in between."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(part * len(ranked)) - 1)]


def percentiles_ms(delays: Sequence[float]) -> dict[str, float]:
    """The distribution of delays in us, as figures in ms: enough points to draw it."""
    figures = {f"p{percent:g}_ms": percentile(delays, percent / 100) / 1000 for percent in PERCENTS}
    return {**figures, "max_ms": max(delays) / 1000}


PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)


def family(pid: int) -> list[int]:
    """A process and all that descend from it, those that live."""
    parents = {int(folder.name): _parent(folder) for folder in Path("/proc").iterdir() if folder.name.isdecimal()}
    members = [pid]
    for member in members:
        members += [child for child, parent in parents.items() if parent == member]
    return members


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and its descendants have used with all their threads, in the kernel too.

    To the millisecond or so; in steps of 10 ms of a process that has ended threads or children. A child that has ended
    counts once its parent has waited for it.
    """
    return sum(_own(member) + _waited_for(member) for member in family(pid))


def _own(pid: int) -> float:
    # The kernel counts exactly for each living thread, and in ticks for a process with its ended ones.
    return max(sum(map(int, _stat(Path(f"/proc/{pid}"))[11:13])) / _TICKS, _of_living_threads(pid))


def _of_living_threads(pid: int) -> float:
    spent = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                spent += int((thread / "schedstat").read_text().split()[0])
    return spent / 1e9


def _waited_for(pid: int) -> float:
    return sum(map(int, _stat(Path(f"/proc/{pid}"))[13:15])) / _TICKS


def _parent(folder: Path) -> int:
    return int(_stat(folder)[1])


def _stat(folder: Path) -> list[str]:
    """The fields of its `stat` from the third on; of a process that is gone, as if it had never done anything."""
    try:
        # The name, second field, may hold spaces; it ends at the last parenthesis.
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", *["0"] * 20]


def machine_busy() -> tuple[float, float]:
    """CPU time that all processors together have spent on anything but idling, in seconds, and how much of it another
    guest of the same host took (steal)."""
    user, nice, system, _idle, _wait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS, int(steal) / _TICKS


class Watch:
    """How much of the machine others used while something was timed. Make it at the start; `pids` are our programs."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._began = time.monotonic()
        self._busy, self._stolen = machine_busy()
        self._own = self._own_cpu()

    def _own_cpu(self) -> float:
        # Of the harness only itself: its children are the programs, and each is counted on its own.
        return sum(map(cpu_seconds, self._pids)) + _own(os.getpid())

    def others(self) -> float:
        """Processors that were busy with what is not ours, on average since the start. Over 0.1 the figures are not good."""
        used = machine_busy()[0] - self._busy - (self._own_cpu() - self._own)
        return max(0.0, round(used / (time.monotonic() - self._began), 3))

    def steal(self) -> float:
        """Processors that the host gave to other guests, on average since the start. `others` has them too."""
        return round((machine_busy()[1] - self._stolen) / (time.monotonic() - self._began), 3)


def loop_seconds() -> float:
    """CPU time of a fixed loop on the core that this runs on, the best of three: longer when the core is slowed down,
    by its clock or by what runs on its other half."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        for _ in range(60_000):
            pass
        times.append(time.thread_time() - began)
    return min(times)


def peak_memory_mb(pid: int) -> float:
    """The most memory that a process and its living descendants each had resident, added up, in MB of 1,000,000 bytes.

    Pages that forked processes share are counted in each of them.
    """
    return sum(_memory_mb(member, "VmHWM:") for member in family(pid))


def memory_mb(pid: int) -> float:
    """The memory that they have resident now, likewise."""
    return sum(_memory_mb(member, "VmRSS:") for member in family(pid))


def _memory_mb(pid: int, word: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(word))


class Counters(Struct, frozen=True):
    """What a server has done since it started."""

    cpu: float
    """Seconds, of all its threads."""
    commands: int
    """Those that scripts run are counted too."""
    reads: int
    """Reads from sockets: about one for each round trip of a client."""
    received: int
    sent: int
    """Bytes."""

    @classmethod
    def of(cls, info: dict[str, Any]) -> Counters:
        """From the reply to INFO, of a server on this machine."""
        return cls(
            cpu_seconds(info["process_id"]),
            info["total_commands_processed"],
            info["total_reads_processed"],
            info["total_net_input_bytes"],
            info["total_net_output_bytes"],
        )

    def per_job(self, before: Counters, jobs: int) -> dict[str, float]:
        """What was spent on each job since `before`."""
        return {
            "server_us": (self.cpu - before.cpu) / jobs * 1e6,
            "commands": (self.commands - before.commands) / jobs,
            "reads": (self.reads - before.reads) / jobs,
            "bytes": (self.received + self.sent - before.received - before.sent) / jobs,
        }
