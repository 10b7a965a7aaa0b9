"""The command `calls`: CPU time of the server for a call with one job, against an empty script and against another source tree.

Most queues are not busy: their calls carry one job, and the fixed cost of a call is what they pay. Time is that of the server's main
thread, in the kernel too, from /proc; so a loaded machine changes it little. Sides take turns in slices of some milliseconds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.measure import Spread, spread
from benchmarks.micro.player import Player, check
from benchmarks.micro.tapes import Command, Recording, Tape, chosen, record
from benchmarks.program import ROOT, placed
from benchmarks.report import columns, shown
from engine.connection.embedded import EmbeddedServer

SUMMARY = "CPU time of the server for calls with one job: in a pipeline, one by one, and with cold caches"
LONE = ("add 1", "turn 1")

_SLICES = 9
_CALLS = 200
_COLD_CALLS = 20
_WARM = 20
"""Calls of a slice that are made before those that are timed."""
_POLLUTION = 16 << 20
"""Bytes that are written between two calls with cold caches: more than two levels of cache hold."""


class Side(Struct, frozen=True):
    name: str
    recording: Recording


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--server", metavar="PROGRAM", help="server program, instead of the one that comes with the embedded extra")
    add("--tree", type=Path, metavar="PATH", help="another source tree, in turn with this one")
    add("--only", action="append", default=[], metavar="WORDS", help="only cases that begin with these; repeatable")
    add("--repeat", type=int, default=_SLICES, metavar="N", help=f"slices of each side ({_SLICES})")


def run(args: argparse.Namespace) -> int:
    names = chosen(LONE, args.only)
    sides = [Side("this", record(ROOT, names, calls=_WARM + _CALLS))]
    if args.tree is not None:
        sides.append(Side("other", record(args.tree, names, calls=_WARM + _CALLS)))
    rows = [["case", "way", "side", "us/call", "empty script", "call/empty", *(["this/other"] if args.tree else [])]]
    core = frozenset((max(os.sched_getaffinity(0)),))
    # On one core, the client can empty the server's caches; and the kernel moves neither.
    with (
        placed(core),
        EmbeddedServer(program=args.server, extra_args=("--appendonly", "no")) as server,
        Player(server.unix_url) as player,
    ):
        bench = _Bench(player, server.pid)
        bench.prepare(sides, names)
        for name in names:
            for way in WAYS:
                rows += bench.rows(sides, name, way, args.repeat)
    print("\n".join(columns(rows)))
    print(f"\nmedian (lowest-highest) of {args.repeat} slices; ratios are those of slices that follow each other")
    print("empty script: one that does nothing, with the keys and arguments of the call")
    print(f"cold: {_POLLUTION >> 20} MiB are written on the server's core before each call")
    return 0


Way = Callable[[Player, Sequence[Command]], list[object]]


def _pipelined(player: Player, calls: Sequence[Command]) -> list[object]:
    return player.send_all(calls)


def _one_by_one(player: Player, calls: Sequence[Command]) -> list[object]:
    return player.send_each(calls)


def _cold(player: Player, calls: Sequence[Command]) -> list[object]:
    replies = []
    for call in calls:
        _waste[:] = _more_waste
        replies.append(player.send(call))
    return replies


_waste, _more_waste = bytearray(_POLLUTION), bytearray(_POLLUTION)

WAYS: dict[str, tuple[Way, int]] = {
    "pipelined": (_pipelined, _CALLS),
    "one by one": (_one_by_one, _CALLS),
    "cold": (_cold, _COLD_CALLS),
}
"""Way to call -> how, and calls of a slice."""


class _Bench:
    def __init__(self, player: Player, pid: int) -> None:
        self._player = player
        self._pid = pid

    def prepare(self, sides: Sequence[Side], names: Sequence[str]) -> None:
        self._player.send(sides[0].recording.fill)
        self._empty = self._player.send([b"SCRIPT", b"LOAD", b"return 0"])
        for side in sides:
            for name in names:
                self._player.send_each(side.recording.tapes[name].load)

    def rows(self, sides: Sequence[Side], name: str, way: str, repeats: int) -> list[list[str]]:
        """A row of each side."""
        spent: list[list[float]] = [[] for _ in sides]
        empty: list[list[float]] = [[] for _ in sides]
        for number in range(repeats + 1):
            # The first side changes, so that no side is always the one whose caches another has warmed.
            for i in sorted(range(len(sides)), reverse=number % 2 == 1):
                recording = sides[i].recording
                tape = recording.tapes[name]
                used = self._slice(recording, tape, way, name)
                nothing = self._slice(recording, self._emptied(tape), way, None)
                if number:
                    spent[i].append(used)
                    empty[i].append(nothing)
        made = []
        for i, side in enumerate(sides):
            relative = [a / b for a, b in zip(spent[i], empty[i], strict=True)]
            row = [name, way, side.name, *map(_shown, (spent[i], empty[i], relative))]
            if len(sides) > 1:
                row.append(_shown([a / b for a, b in zip(spent[0], spent[1], strict=True)]) if i == 0 else "")
            made.append(row)
        return made

    def _slice(self, recording: Recording, tape: Tape, way: str, name: str | None) -> float:
        """us of the server's CPU for a call."""
        send, count = WAYS[way]
        self._player.set_up(recording, tape)
        replies = self._player.send_each(tape.calls[:_WARM])
        before = cpu_ns(self._pid)
        replies += send(self._player, tape.calls[_WARM : _WARM + count])
        used = cpu_ns(self._pid) - before
        if name is not None:
            check(name, tape, replies)
        return used / count / 1000

    def _emptied(self, tape: Tape) -> Tape:
        calls = [[b"EVALSHA", self._empty, *call[2:]] for call in tape.calls]
        return Tape([], [], calls, [], tape.jobs)


def cpu_ns(pid: int) -> int:
    """CPU time of a process's main thread, user and kernel, in ns. Exact while it waits."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def _shown(values: Sequence[float]) -> str:
    found: Spread = spread(values)
    return shown(found)
