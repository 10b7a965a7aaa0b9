"""Web servers as child processes on ports of their own, and plain HTTP requests to them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.daemons import ROOT

_ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")


class Answer(NamedTuple):
    """The reply to a request. `body`: its JSON value, where it is JSON. `headers`: by their names in small letters."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Server:
    """A web server, started with port 0; `url` is read from what it prints."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.url: str = wait_for(self._address, "the server prints its address")

    def _address(self) -> str | None:
        text = self.log.read_text()
        assert self.process.poll() is None, f"the server ended:\n{text}"
        found = _ADDRESS.search(text)
        return found[0] if found else None

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body or None, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return _answer(reply.status, reply.read(), dict(reply.headers))
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), dict(error.headers))

    def stop(self, timeout: float = 60) -> None:
        """SIGTERM, and wait for the end."""
        self.process.terminate()
        code = self.process.wait(timeout)
        assert code in (0, -signal.SIGTERM), f"exit code {code}:\n{self.log.read_text()}"


@contextmanager
def serving(*arguments: str, log: Path, env: Mapping[str, str]) -> Iterator[Server]:
    """A server for the length of a block, `python -m` and these arguments; killed at its end if it still runs."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Server(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def wait_for(condition: Callable[[], Any], what: str, *, timeout: float = 60) -> Any:
    """What the condition gives once it is true; fails with `what` was waited for."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout} s in vain until {what}")


def _answer(status: int, body: bytes, headers: Mapping[str, str]) -> Answer:
    lower = {name.lower(): value for name, value in headers.items()}
    is_json = lower["content-type"].startswith("application/json")
    return Answer(status, json.loads(body) if is_json else body.decode(), lower)
