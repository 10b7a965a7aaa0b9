"""Median and spread, CPU time of processes from /proc, counters of the server. Knows no scenario. Linux only."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

_TICKS = os.sysconf("SC_CLK_TCK")


class Spread(Struct, frozen=True):
    """The median of several runs, and the lowest and highest of them."""

    median: float
    low: float
    high: float
    runs: int


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values), len(values))


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
    """CPU time that a process and its descendants have used with all their threads, in the kernel too. Steps of 10 ms.

    A child that has ended counts once its parent has waited for it.
    """
    return sum(_own_and_waited_for(member) for member in family(pid))


def _own_and_waited_for(pid: int) -> float:
    return sum(map(int, _stat(Path(f"/proc/{pid}"))[11:15])) / _TICKS


def _own(pid: int) -> float:
    return sum(map(int, _stat(Path(f"/proc/{pid}"))[11:13])) / _TICKS


def _parent(folder: Path) -> int:
    return int(_stat(folder)[1])


def _stat(folder: Path) -> list[str]:
    """The fields of its `stat` from the third on; of a process that is gone, as if it had never done anything."""
    try:
        # The name, second field, may hold spaces; it ends at the last parenthesis.
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", *["0"] * 20]


def machine_busy() -> float:
    """CPU time that all processors together have spent on anything but idling, in seconds; with what a host took away."""
    user, nice, system, _idle, _wait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS


class Watch:
    """How much of the machine others used while something was timed. Make it at the start; `pids` are our programs."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._began = time.monotonic()
        self._busy = machine_busy()
        self._own = self._own_cpu()

    def _own_cpu(self) -> float:
        # Of the harness only itself: its children are the programs, and each is counted on its own.
        return sum(map(cpu_seconds, self._pids)) + _own(os.getpid())

    def others(self) -> float:
        """Processors that were busy with what is not ours, on average since the start. Over 0.1 the figures are not good."""
        used = machine_busy() - self._busy - (self._own_cpu() - self._own)
        return max(0.0, round(used / (time.monotonic() - self._began), 3))


def peak_memory_mb(pid: int) -> float:
    """The most memory that a process and its living descendants each had resident, added up, in MB of 1,000,000 bytes.

    Pages that forked processes share are counted in each of them.
    """
    return sum(map(_peak_mb, family(pid)))


def _peak_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


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
