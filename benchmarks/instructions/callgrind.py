"""A server under valgrind's callgrind, and the instructions that its main thread has executed so far."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engine.connection.embedded import EmbeddedServer, find_server

MISSING = "valgrind is not installed: no instructions are counted (Debian: apt-get install valgrind)"

_MAIN_THREAD = re.compile(rb"^events-1: (\d+)$", re.MULTILINE)
_VALGRIND = ("valgrind", "--command-line-only=yes", "--tool=callgrind", "--callgrind-out-file=/dev/null", "-q")
_SETTINGS = (
    # Timers that run by the clock would be counted in one run and not in the other.
    *("--appendonly", "no", "--hz", "1", "--dynamic-hz", "no", "--activerehashing", "no"),
)


def is_installed() -> bool:
    return shutil.which("valgrind") is not None and shutil.which("vgdb") is not None


class Counter:
    """Counts what the server executes between two `read`s, without what reading itself costs it."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self.url = server.unix_url
        self._own = 0
        self._last = self._total()
        self._own = min(self.read() for _ in range(5))

    def read(self) -> int:
        """Instructions of the server's main thread since the last read."""
        before, self._last = self._last, self._total()
        return self._last - before - self._own

    def _total(self) -> int:
        told = subprocess.run(
            ["vgdb", f"--pid={self._server.pid}", "status", "internal"], capture_output=True, check=False, timeout=60
        )
        found = _MAIN_THREAD.search(told.stdout)
        if found is None:
            raise RuntimeError(f"vgdb told no count: {told.stderr.decode(errors='replace').strip()[-300:]}")
        return int(found[1])


@contextmanager
def counted(program: str | None) -> Iterator[Counter]:
    """A server of our own under callgrind; `program` None is the wheel's. It is some 50 times slower than without."""
    with tempfile.TemporaryDirectory() as folder:
        wrapper = Path(folder, "server")
        started = [*_fixed_addresses(), *_VALGRIND, program or str(find_server(prefer_wheel=True))]
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(started)} "$@"\n')
        wrapper.chmod(0o700)
        with EmbeddedServer(program=wrapper, extra_args=_SETTINGS) as server:
            yield Counter(server)


def _fixed_addresses() -> Sequence[str]:
    """Lua's tables hash by address. Not every container permits it."""
    try:
        permitted = subprocess.run(["setarch", "-R", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        permitted = False
    return ("setarch", "-R") if permitted else ()
