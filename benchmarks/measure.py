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


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used with all its threads, in the kernel too. Steps of one tick (10 ms)."""
    # The name, second field, may hold spaces; it ends at the last parenthesis.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_busy() -> float:
    """CPU time that all processors together have spent on anything but idling, in seconds; with what a host took away."""
    user, nice, system, _idle, _wait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS


class Watch:
    """How much of the machine others used while something was timed. Make it at the start; `pids` are our processes."""

    def __init__(self, *pids: int) -> None:
        self._pids = (*pids, os.getpid())
        self._began = time.monotonic()
        self._busy = machine_busy()
        self._own = self._own_cpu()

    def _own_cpu(self) -> float:
        return sum(map(cpu_seconds, self._pids))

    def others(self) -> float:
        """Processors that were busy with what is not ours, on average since the start. Over 0.1 the figures are not good."""
        used = machine_busy() - self._busy - (self._own_cpu() - self._own)
        return max(0.0, round(used / (time.monotonic() - self._began), 3))


def peak_memory_mb(pid: int) -> float:
    """The most memory a process has had resident, in MB of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


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
