"""The file of counts, and what a run says against it. Knows neither servers nor callgrind.

counts.txt has a section for each server, and a line for each case: the count, the case, and after a bar why it is higher than
it was. A count that moves by TOLERANCE or less stays as it is, so small steps in one direction add up until they need a reason too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from benchmarks.report import columns

FILE = Path(__file__).parent / "counts.txt"
TOLERANCE = 0.02

_SECTION = re.compile(r"\[(.+)\]")
_COUNT = re.compile(r"([\d,]+)  ([^|]+?)(?: \| (.+))?")
_HEAD = """\
# Instructions of the server for a job: benchmarks/README.md, "Instruction counts". Written by
# python -m benchmarks instructions --write --reason "why a count is higher than before"
"""


class Count(Struct, frozen=True):
    instructions: int
    reason: str = ""
    """Why it is higher than the count that was here before."""


Counts = dict[str, Count]
"""Case -> its count, of one server."""


def read_counts(file: Path) -> dict[str, Counts]:
    """Server -> its counts; none if there is no file. Raises SystemExit for a line that is neither a server nor a count."""
    servers: dict[str, Counts] = {}
    counts: Counts = {}
    for number, line in enumerate(file.read_text().splitlines() if file.exists() else (), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if section := _SECTION.fullmatch(line.strip()):
            counts = servers.setdefault(section[1], {})
        elif (found := _COUNT.fullmatch(line.strip())) and servers:
            counts[found[2]] = Count(int(found[1].replace(",", "")), found[3] or "")
        else:
            raise SystemExit(
                f"{file}:{number}: {line!r} is not a count; write COUNT, two spaces, CASE, and | REASON if there is one"
            )
    return servers


def write_counts(servers: Mapping[str, Counts]) -> str:
    lines = [_HEAD.rstrip()]
    for server, counts in servers.items():
        lines += ["", f"[{server}]"]
        for case, count in counts.items():
            reason = f" | {count.reason}" if count.reason else ""
            lines.append(f"{count.instructions:>9,}  {case}{reason}")
    return "\n".join(lines) + "\n"


def change(measured: float, stored: Count | None) -> float | None:
    """Part by which a measured count is above the stored one, below 0 if it is less. None without one."""
    return None if stored is None else measured / stored.instructions - 1


def outside(measured: Mapping[str, float], stored: Counts) -> dict[str, float]:
    """Cases whose count moved by more than TOLERANCE, with their change."""
    changes = {case: change(count, stored.get(case)) for case, count in measured.items()}
    return {case: moved for case, moved in changes.items() if moved is not None and abs(moved) > TOLERANCE}


def verdict(measured: Mapping[str, float], stored: Counts) -> list[str]:
    """What is wrong with a run, in lines; empty if it agrees with the stored counts."""
    moved = outside(measured, stored)
    up, down = [case for case, part in moved.items() if part > 0], [case for case, part in moved.items() if part < 0]
    new = [case for case in measured if case not in stored]
    lines = []
    if up:
        lines.append(
            f"MORE than {TOLERANCE:+.0%}: {'; '.join(up)}. Make it cheaper, or store the counts with --write --reason 'why'"
        )
    if down:
        lines.append(f"LESS than {-TOLERANCE:+.0%}: {'; '.join(down)}. Store the lower counts with --write")
    if new:
        lines.append(f"NOT STORED: {'; '.join(new)}. Store them with --write")
    return lines


def updated(stored: Counts, measured: Mapping[str, float], reason: str) -> Counts:
    """The stored counts with those of a run that are new or outside the tolerance.

    Raises SystemExit if one is higher and there is no reason.
    """
    moved = outside(measured, stored)
    if any(part > 0 for part in moved.values()) and not reason:
        higher = "; ".join(case for case, part in moved.items() if part > 0)
        raise SystemExit(f"--write: {higher}: more instructions than before; give the reason with --reason 'why'")
    if "\n" in reason or "|" in reason:
        raise SystemExit(f"--reason: {reason!r} has a line break or a bar; give one line without")
    counts = dict(stored)
    for case, count in measured.items():
        if case not in stored or case in moved:
            counts[case] = Count(round(count), reason if moved.get(case, 0) > 0 else "")
    return counts


def table(measured: Mapping[str, tuple[float, float]], stored: Counts, beside: Mapping[str, float]) -> str:
    """A row a case. `measured`: the count and the spread of its repeats; `beside`: counts of another tree."""
    head = ["case", "instructions/job", "spread", "stored", "change"]
    rows = [[*head, "other tree", "this/other"] if beside else head]
    for case, (count, apart) in measured.items():
        known = stored.get(case)
        moved = change(count, known)
        row = [case, f"{count:,.0f}", f"{apart:.1%}", f"{known.instructions:,}" if known else "-"]
        row.append("-" if moved is None else f"{moved:+.1%}")
        if beside:
            row += [f"{beside[case]:,.0f}", f"{count / beside[case]:.3f}"]
        rows.append(row)
    return "\n".join(columns(rows))
