"""A child process that is told what to do, and answers, in lines of JSON. Knows nothing of what is said."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from benchmarks.measure import family

ROOT = Path(__file__).parent.parent
PATIENCE = 300.0  # seconds that a program may stay silent


class ProgramFailed(RuntimeError):
    """A program of the benchmark ended or fell silent. What it said is on stderr."""


class Silent(ProgramFailed):
    """A program has not answered in time. It may still do so."""


@contextmanager
def placed(cores: frozenset[int]) -> Iterator[None]:
    """Processes started inside run on these cores, all their threads included; empty is any core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Program:
    """A running program. Ends with the `with` block, by closing its input and, if that does not do, by force.

    One that `stays` outlives the block, until `end`.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cores: frozenset[int]) -> None:
        self.command = command
        self.versions: dict[str, str] = {}
        self.stays = False
        self.warm = False
        """Set by a scenario after the run that loads and compiles what a timed run needs."""
        self._heard = b""
        with placed(cores):
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, **env}
            )

    def __repr__(self) -> str:
        return f"<Program {' '.join(self.command)} pid {self.pid}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.stays:
            self.end()

    def end(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with suppress(BrokenPipeError):
            self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self._child.stdout.close()

    def kill(self) -> None:
        """End it as a power cut would, with all its descendants. Returns when it is gone."""
        for pid in reversed(family(self.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._child.wait()

    @property
    def pid(self) -> int:
        return self._child.pid

    def tell(self, /, **order: Any) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(order).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise ProgramFailed(f"{self!r} ended with status {self._child.wait()} before {order!r:.100}") from None

    def hear(self, word: str, *, patience: float = PATIENCE) -> Any:
        """The next line, which must hold `word`; the value that stands there. Raises Silent after `patience` seconds."""
        line = self._line(patience)
        try:
            return json.loads(line)[word]
        except (ValueError, TypeError, KeyError):
            raise ProgramFailed(f"{self!r} said {line!r:.200} where {word!r} was due") from None

    def ask(self, word: str, /, **order: Any) -> Any:
        self.tell(**order)
        return self.hear(word)

    def _line(self, patience: float) -> bytes:
        assert self._child.stdout is not None
        ends = time.monotonic() + patience
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self._child.stdout], [], [], max(0.0, ends - time.monotonic()))
            if not ready:
                raise Silent(f"{self!r} said nothing for {patience:g} s")
            piece = os.read(self._child.stdout.fileno(), 1 << 20)
            if not piece:
                raise ProgramFailed(f"{self!r} ended with status {self._child.wait()} before it answered")
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        return line
