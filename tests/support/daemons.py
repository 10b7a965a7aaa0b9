"""Worker daemons as child processes: started, signalled and always collected, by their pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Daemon:
    """One `python -m engine.worker`. Its output goes to a file, since an inherited pipe would hang the test."""

    def __init__(self, arguments: list[str], log: Path, env: dict[str, str]) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "engine.worker", *arguments],
                cwd=ROOT,
                env=os.environ | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.log = log

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout: float = 20) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return self.process.wait(timeout)


@contextmanager
def daemon(*arguments: str, log: Path, env: dict[str, str] | None = None) -> Iterator[Daemon]:
    """A daemon for the length of a block; killed at its end if it still runs."""
    started = Daemon(list(arguments), log, env or {})
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.kill()
