"""Which ratios of a report can be trusted on the machine that made it, and why not the others."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.measure import Spread
from benchmarks.rounds import DISTURBED, STOLEN, Run

TRUSTED = "trusted"
WIDE = 0.2
"""Width of an interval, as a part of the median, above which a figure says too little."""
FEWEST = 5
"""Pairs that a median needs. As many calm ones are enough to leave the disturbed ones out."""

_SHORT_US = 50_000  # CPU time of a run; the kernel's clocks are too coarse for less
_OF_THE_CPU = ("server_us", "add_server_us", "both_server_us", "worker_us", "producer_us", "cpu_rate")
_COUNTED = ("commands", "reads", "bytes", "turns", "job_bytes")
"""Figures that no other program changes."""

Pair = tuple[Run, Run]


def chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that a ratio is made of: those that nothing disturbed, if they are enough; else all. What disturbed them
    decides, never what they came to."""
    calm = [pair for pair in pairs if not any(run.disturbed for run in pair)]
    return calm if len(calm) >= FEWEST else list(pairs)


def judge(name: str, ratio: Spread, pairs: Sequence[Pair]) -> str:
    """One line about a ratio that was made of these pairs."""
    reasons = [*_disturbances(name, pairs), *_coarse(name, pairs)]
    if ratio.width > WIDE:
        reasons.append(f"spread {ratio.width:.0%}")
    if name not in _COUNTED and ratio.runs < FEWEST:
        reasons.append(f"{ratio.runs} pairs only")
    return "not trusted: " + ", ".join(reasons) if reasons else TRUSTED


def _disturbances(name: str, pairs: Sequence[Pair]) -> Iterator[str]:
    """What lengthened the runs by the wall's clock. CPU time has only its traces, which show as spread."""
    if name in _OF_THE_CPU or name in _COUNTED:
        return
    runs = [run.figures for pair in pairs for run in pair]
    others, steal = (statistics.median(run.get(figure, 0.0) for run in runs) for figure in ("others", "steal"))
    if steal > STOLEN:
        yield f"the host took {steal:.2g} cores"
    elif others > DISTURBED:
        yield f"others used {others:.2g} cores"


def _coarse(name: str, pairs: Sequence[Pair]) -> Iterator[str]:
    if not name.endswith("_us"):
        return
    least = min(run.figures[name] * run.jobs for pair in pairs for run in pair)
    if least < _SHORT_US:
        yield f"{least / 1000:.0f} ms of CPU time a run only"
