"""What every run stands on: one server, the cores of each process, what they spend, and questions to the server that cost
it little."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Literal

import redis

from benchmarks.measure import Counters, Watch, cpu_seconds
from benchmarks.program import PATIENCE, Program, placed
from benchmarks.side import Side
from engine.connection.embedded import EmbeddedServer

Place = Literal["apart", "free"]
Fsync = Literal["everysec", "always", "no", "off"]

SLOW_MS = 10
"""No script may hold the server for longer."""
_SLOW_KEPT = 10_000
_SCRIPTS = (b"EVAL", b"EVALSHA", b"FCALL")

_SETTINGS = (
    *("appendonly", "appendfsync", "auto-aof-rewrite-percentage", "save", "maxmemory-policy", "io-threads"),
    *("hash-max-listpack-entries", "hash-max-listpack-value"),
)


class Stand:
    """The server and how processes are placed. `apart` gives the server the first core and all others the second."""

    def __init__(self, server: EmbeddedServer, place: Place) -> None:
        self.url = server.url
        self._server = server
        self.redis: Any = redis.Redis.from_url(server.unix_url, decode_responses=True)
        self.place = place
        self.between: tuple[Program, ...] = ()
        self._cores = client_cores(place)

    def close(self) -> None:
        self.redis.close()

    def worker(self, side: Side, *, url: str | None = None) -> Program:
        """One more worker of that side; `url` if it is to reach the server by another way."""
        return self._start(side.worker, side.env, url)

    def producer(self, side: Side, *, url: str | None = None) -> Program:
        return self._start(side.producer, side.env, url)

    def _start(self, command: Sequence[str], env: Mapping[str, str], url: str | None) -> Program:
        program = Program([*command, url or self.url], env=env, cores=self._cores)
        try:
            program.versions = program.hear("ready")
        except BaseException:
            program.__exit__()
            raise
        return program

    def through(self, url: str, *between: Program) -> Stand:
        """The same server, which programs reach by another address; meters count what stands `between` among ours."""
        other = copy(self)
        other.url = url
        other.between = between
        return other

    def empty(self) -> None:
        """Remove everything, and wait until the memory is given back."""
        self.redis.flushall(asynchronous=False)
        self.forget_slow()

    def forget_slow(self) -> None:
        self.redis.slowlog_reset()

    def slow(self) -> int:
        """Calls of scripts and functions that held the server for over SLOW_MS since they were forgotten."""
        # As they were sent, since payloads are cut anywhere.
        commands = [bytes(entry["command"]) for entry in self.redis.slowlog_get(_SLOW_KEPT)]
        return sum(command.split()[0].upper() in _SCRIPTS for command in commands)

    @property
    def server_pid(self) -> int:
        return self._server.pid

    def counters(self) -> Counters:
        return Counters.of(self.redis.info())

    def meter(self, *, workers: Sequence[Program] = (), producers: Sequence[Program] = ()) -> Meter:
        """Starts to note what is spent, by these programs and the server."""
        return Meter(self, workers, producers)

    def waiting(self, side: Side, queue: str, producer: Program) -> int:
        """Jobs that wait to be taken; a side with a layout of its own says it itself."""
        if side.on_the_wire:
            return int(self.redis.llen(f"bull:{queue}:wait"))
        return int(producer.ask("waiting", do="waiting", queue=queue))

    def keep_no_events(self, queue: str) -> None:
        """Before its first job: whoever opens a queue first says how many events it keeps, and here that is the harness."""
        self.redis.hset(f"bull:{queue}:meta", "events", "none")

    def completed(self, queue: str) -> int:
        """Results that are kept, of a side on the wire."""
        return int(self.redis.zcard(f"bull:{queue}:completed"))

    def wait_until_idle(self, side: Side, queue: str) -> None:
        """Until no job is active: the last results are written. Asked only once all were handled.

        Only the wire tells; of another side nobody waits for anything.
        """
        ends = time.monotonic() + PATIENCE
        while side.on_the_wire and self.redis.llen(f"bull:{queue}:active"):
            if time.monotonic() > ends:
                raise RuntimeError(f"{side.name}: {queue} still has active jobs after {PATIENCE:.0f} s")
            time.sleep(0.0005)

    def settings(self) -> dict[str, str]:
        info = self.redis.info("server")
        kind = "Valkey" if "valkey_version" in info else "Redis"
        config = self.redis.config_get(*_SETTINGS)
        return {
            "server": f"{kind} {info.get('valkey_version') or info['redis_version']}",
            "program": info["executable"],
            "transport": "TCP on loopback" if self.url.startswith("redis:") else "unix socket",
            "cores": _told(self.place),
            **{name: str(config[name]) or "none" for name in _SETTINGS if name in config},
        }


class Meter:
    """What a stretch of a run took and cost. It begins when it is made."""

    def __init__(self, stand: Stand, workers: Sequence[Program], producers: Sequence[Program]) -> None:
        self._stand = stand
        self._groups = {"worker_us": workers, "producer_us": producers}
        self._counters = stand.counters()
        self._cpu = self._spent()
        ours = (*workers, *producers, *stand.between)
        self._watch = Watch(stand.server_pid, *(program.pid for program in ours))
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def _spent(self) -> dict[str, float]:
        return {
            name: sum(cpu_seconds(program.pid) for program in programs)
            for name, programs in self._groups.items()
            if programs
        }

    def read(self, jobs: int, *, seconds: float | None = None) -> dict[str, float]:
        """Figures of this many jobs so far. `seconds`, where another clock than this one has timed them."""
        seconds = self.elapsed if seconds is None else seconds
        others = self._watch.others()
        spent = {name: (cpu - self._cpu[name]) / jobs * 1e6 for name, cpu in self._spent().items()}
        counted = self._stand.counters().per_job(self._counters, jobs)
        return {"rate": jobs / seconds, "seconds": seconds, "others": others, **spent, **counted}


def server_cores(place: Place) -> frozenset[int]:
    return frozenset(_two_cores()[:1]) if place == "apart" else frozenset()


def client_cores(place: Place) -> frozenset[int]:
    return frozenset(_two_cores()[1:]) if place == "apart" else frozenset()


def _two_cores() -> list[int]:
    cores = sorted(os.sched_getaffinity(0))[:2]
    return cores if len(cores) == 2 else []


def _told(place: Place) -> str:
    if place == "free" or not _two_cores():
        return "left to the kernel"
    server, clients = _two_cores()
    return f"server on core {server}, worker and producer on core {clients}"


@contextmanager
def stand(*, program: str | None, tcp: bool, fsync: Fsync, place: Place) -> Iterator[Stand]:
    """A server of our own with the same settings for all sides; `program` None takes the wheel's."""
    options = ["--appendonly", "no"] if fsync == "off" else ["--appendfsync", fsync]
    # A rewrite would fall into the run of one side and not of the other.
    options += ["--auto-aof-rewrite-percentage", "0"]
    options += ["--slowlog-log-slower-than", str(SLOW_MS * 1000), "--slowlog-max-len", str(_SLOW_KEPT)]
    server = EmbeddedServer(program=program, tcp=tcp, extra_args=options)
    with placed(server_cores(place)):
        server.start()
    with server:
        standing = Stand(server, place)
        try:
            yield standing
        finally:
            standing.close()
