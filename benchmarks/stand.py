"""What every run stands on: one server, the cores of each process, and questions to the server that cost it little."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import redis

from benchmarks.measure import Counters
from benchmarks.program import PATIENCE, Program, placed
from benchmarks.side import Side
from engine.embedded import EmbeddedServer

Place = Literal["apart", "free"]
Fsync = Literal["everysec", "always", "no", "off"]

_SETTINGS = (
    *("appendonly", "appendfsync", "auto-aof-rewrite-percentage", "save", "maxmemory-policy", "io-threads"),
    *("hash-max-listpack-entries", "hash-max-listpack-value"),
)


class Stand:
    """The server and how processes are placed. `apart` gives the server the first core and all others the second."""

    def __init__(self, server: EmbeddedServer, place: Place) -> None:
        self.url = server.url
        self._server = server
        self._redis: Any = redis.Redis.from_url(server.unix_url, decode_responses=True)
        self.place = place
        self._cores = client_cores(place)

    def close(self) -> None:
        self._redis.close()

    def worker(self, side: Side) -> Program:
        return self._start(side.worker, side.env)

    def producer(self, side: Side) -> Program:
        return self._start(side.producer, side.env)

    def _start(self, command: Sequence[str], env: Mapping[str, str]) -> Program:
        program = Program([*command, self.url], env=env, cores=self._cores)
        try:
            program.versions = program.hear("ready")
        except BaseException:
            program.__exit__()
            raise
        return program

    def empty(self) -> None:
        """Remove everything, and wait until the memory is given back."""
        self._redis.flushall(asynchronous=False)

    @property
    def server_pid(self) -> int:
        return self._server.pid

    def counters(self) -> Counters:
        return Counters.of(self._redis.info())

    def waiting(self, queue: str) -> int:
        return int(self._redis.llen(f"bull:{queue}:wait"))

    def completed(self, queue: str) -> int:
        return int(self._redis.zcard(f"bull:{queue}:completed"))

    def wait_until_idle(self, queue: str) -> None:
        """Until no job is active: the last results are written. Asked only once all were handled."""
        ends = time.monotonic() + PATIENCE
        while self._redis.llen(f"bull:{queue}:active"):
            if time.monotonic() > ends:
                raise RuntimeError(f"{queue}: jobs are still active after {PATIENCE:.0f} s")
            time.sleep(0.0005)

    def settings(self) -> dict[str, str]:
        info = self._redis.info("server")
        kind = "Valkey" if "valkey_version" in info else "Redis"
        config = self._redis.config_get(*_SETTINGS)
        return {
            "server": f"{kind} {info.get('valkey_version') or info['redis_version']}",
            "program": info["executable"],
            "transport": "TCP on loopback" if self.url.startswith("redis:") else "unix socket",
            "cores": _told(self.place),
            **{name: str(config[name]) or "none" for name in _SETTINGS if name in config},
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
    server = EmbeddedServer(program=program, tcp=tcp, extra_args=options)
    with placed(server_cores(place)):
        server.start()
    with server:
        standing = Stand(server, place)
        try:
            yield standing
        finally:
            standing.close()
