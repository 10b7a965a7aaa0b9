"""The command `instructions`: counts, prints, compares with counts.txt, stores."""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.instructions.callgrind import MISSING, Counter, counted, is_installed
from benchmarks.instructions.counts import FILE, read_counts, table, updated, verdict, write_counts
from benchmarks.micro.player import Player, check
from benchmarks.micro.tapes import CASES, Command, Recording, chosen, record
from benchmarks.program import ROOT

SUMMARY = "instructions that the server takes for a job, script by script, against the counts in the repository"
_REPEATS = 3


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--server", metavar="PROGRAM", help="server program, instead of the one that comes with the embedded extra")
    add("--only", action="append", default=[], metavar="WORDS", help="only cases that begin with these; repeatable")
    add("--quick", action="store_true", help="only the cases that CI counts")
    add("--repeat", type=int, default=_REPEATS, metavar="N", help=f"times that each case is counted ({_REPEATS})")
    add("--write", action="store_true", help="store counts that are new or moved by over 2 %%")
    add("--reason", default="", metavar="WHY", help="why counts are higher than before; stored beside each of them")
    add(
        "--counts",
        type=Path,
        default=FILE,
        metavar="FILE",
        help=f"another file of counts than {FILE.relative_to(ROOT)}",
    )
    add("--tree", type=Path, metavar="PATH", help="count another source tree too, in turn with this one")


def run(args: argparse.Namespace) -> int:
    """Print the counts. 1 if they are not those that are stored."""
    names = chosen([name for name, case in CASES.items() if case.quick or not args.quick], args.only)
    if not is_installed():
        print(MISSING)
        return 0
    recordings = [record(tree, names) for tree in filter(None, (ROOT, args.tree))]
    with counted(args.server) as counter, Player(counter.url) as player:
        server = _server(player)
        player.send(recordings[0].fill)
        counts: list[dict[str, list[float]]] = [{} for _ in recordings]
        for name in names:
            for into, figures in zip(counts, _count(counter, player, recordings, name, args.repeat), strict=True):
                into[name] = figures
    measured = {name: statistics.median(figures) for name, figures in counts[0].items()}
    spreads = {name: (max(figures) - min(figures)) / min(figures) for name, figures in counts[0].items()}
    beside = {name: statistics.median(figures) for name, figures in counts[-1].items()} if args.tree else {}
    servers = read_counts(args.counts)
    stored = servers.get(server, {})
    print(f"{server}; median of {args.repeat}; spread: from the lowest to the highest of them")
    print(table({name: (measured[name], spreads[name]) for name in names}, stored, beside))
    if args.write:
        servers[server] = updated(stored, measured, args.reason)
        args.counts.write_text(write_counts(servers))
        print(f"stored in {args.counts}")
        return 0
    wrong = verdict(measured, stored)
    print("\n".join(wrong or ["all within 2 % of the stored counts"]))
    return 1 if wrong else 0


def _count(
    counter: Counter, player: Player, recordings: Sequence[Recording], name: str, repeats: int
) -> list[list[float]]:
    """Instructions a job of each recording, `repeats` times, in turn."""
    counts: list[list[float]] = [[] for _ in recordings]
    for _ in range(1 + repeats):
        for recording, into in zip(recordings, counts, strict=True):
            into.append(_window(counter, player, recording, name))
    # In the first the server's tables grow to their size.
    return [figures[1:] for figures in counts]


def _window(counter: Counter, player: Player, recording: Recording, name: str) -> float:
    """Instructions a job, with what it costs to collect the garbage of the calls, and without what Lua's live data cost the collector."""
    tape = recording.tapes[name]
    player.send_each([[b"SCRIPT", b"FLUSH", b"SYNC"], *tape.load])
    player.set_up(recording, tape)
    while player.scripts % _COLLECTED:
        player.send(_script(""))
    player.send(_script("collectgarbage() collectgarbage('stop')"))
    counter.read()
    replies = player.send_each(tape.calls)
    player.send(_script("collectgarbage()"))
    used = counter.read()
    player.send(_script("collectgarbage()"))
    check(name, tape, replies)
    return (used - counter.read()) / tape.jobs


_COLLECTED = 50
"""The server makes a step of Lua's collector after so many scripts. No tape has that many calls."""


def _script(body: str) -> Command:
    return [b"EVAL", body.encode(), b"0"]


def _server(player: Player) -> str:
    """Name, version and machine, as counts are kept apart by."""
    about = dict(line.split(":", 1) for line in player.send([b"INFO", b"server"]).decode().splitlines() if ":" in line)
    name, version = "Redis", about["redis_version"]
    if "valkey_version" in about:
        name, version = "Valkey", about["valkey_version"]
    return f"{name} {'.'.join(version.split('.')[:2])} {platform.machine()}"
