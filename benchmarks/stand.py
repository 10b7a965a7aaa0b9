"""What every run stands on: one server, the cores of each process, what they spend, and questions to the server that cost
it little."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Literal

import redis

from benchmarks.measure import Counters, Watch, cpu_seconds, loop_seconds
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

    def __init__(self, server: EmbeddedServer, place: Place, another: Callable[[], EmbeddedServer]) -> None:
        self.url = server.url
        self._server = server
        self._another = another
        self.redis: Any = redis.Redis.from_url(server.unix_url, decode_responses=True)
        self.place = place
        self.between: tuple[Program, ...] = ()
        self._cores = client_cores(place)
        self._kept: dict[tuple[str, ...], Program] | None = None
        self._best_loop = min(self._loops() for _ in range(5))

    def close(self) -> None:
        self.redis.close()

    def worker(self, side: Side, *, url: str | None = None) -> Program:
        """One more worker of that side; `url` if it is to reach the server by another way."""
        return self._start(side, side.worker, url)

    def producer(self, side: Side, *, url: str | None = None) -> Program:
        return self._start(side, side.producer, url)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Programs of a side that `stays` stay between runs inside: a run has the one that the run before it had, warm. So a
        side has one worker and one producer."""
        self._kept = {}
        try:
            yield
        finally:
            kept, self._kept = self._kept, None
            with ExitStack() as ending:
                for program in kept.values():
                    ending.callback(program.end)

    def _start(self, side: Side, command: Sequence[str], url: str | None) -> Program:
        key = (*command, url or self.url)
        if self._kept is not None and key in self._kept:
            return self._kept[key]
        program = Program(key, env=side.env, cores=self._cores)
        try:
            program.versions = program.hear("ready")
        except BaseException:
            program.end()
            raise
        if self._kept is not None and side.stays:
            program.stays = True
            self._kept[key] = program
        return program

    def slowdown(self) -> float:
        """How much longer a fixed loop takes now, on the slowest of the cores in use, than it took at its best here: 1.0 on
        a calm machine."""
        now = self._loops()
        self._best_loop = min(self._best_loop, now)
        return now / self._best_loop

    def _loops(self) -> float:
        slowest = 0.0
        for cores in (server_cores(self.place), self._cores):
            with placed(cores):
                slowest = max(slowest, loop_seconds())
        return slowest

    def through(self, url: str, *between: Program) -> Stand:
        """The same server, which programs reach by another address; meters count what stands `between` among ours."""
        other = copy(self)
        other.url = url
        other.between = between
        return other

    @contextmanager
    def beside(self, count: int) -> Iterator[list[Stand]]:
        """This stand and others, `count` in all, each with a server of its own that has the same settings."""
        with ExitStack() as running:
            stands = [self]
            for _ in range(count - 1):
                server = self._another()
                running.enter_context(_started(server, self.place))
                stands.append(Stand(server, self.place, self._another))
                running.callback(stands[-1].close)
            yield stands

    @contextmanager
    def on_all_cores(self, *pids: int) -> Iterator[None]:
        """Let the server, and these processes, run on every core; afterwards the server where it was."""
        before = os.sched_getaffinity(self.server_pid)
        for pid in (self.server_pid, *pids):
            _place(pid, os.sched_getaffinity(0))
        try:
            yield
        finally:
            _place(self.server_pid, before)

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

    def set_events(self, queue: str, events: str) -> None:
        """Before its first job: which events the engine writes for a queue is stored with the queue, and here the harness
        stores it."""
        self.redis.hset(f"bull:{queue}:meta", "events", events)

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
        """Figures of this many jobs so far. `seconds`, where another clock than this one has timed them.

        `cpu_rate` is the rate that the busier of two cores allows: the server's, and the one that our programs share.
        """
        seconds = self.elapsed if seconds is None else seconds
        others, steal = self._watch.others(), self._watch.steal()
        spent = {name: (cpu - self._cpu[name]) / jobs * 1e6 for name, cpu in self._spent().items()}
        counted = self._stand.counters().per_job(self._counters, jobs)
        busier = max(counted["server_us"], sum(spent.values()))
        return {
            "rate": jobs / seconds,
            "cpu_rate": 1e6 / busier if busier else 0.0,
            "seconds": seconds,
            "others": others,
            "steal": steal,
            **spent,
            **counted,
        }


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
    another = partial(EmbeddedServer, program=program, tcp=tcp, extra_args=options)
    server = another()
    with _started(server, place):
        standing = Stand(server, place, another)
        try:
            yield standing
        finally:
            standing.close()


@contextmanager
def _started(server: EmbeddedServer, place: Place) -> Iterator[None]:
    with placed(server_cores(place)):
        server.start()
    with server:
        yield


def _place(pid: int, cores: set[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)
