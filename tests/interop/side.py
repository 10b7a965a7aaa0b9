"""A Node process with the real BullMQ, driven by one JSON line a call; installs its packages."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engine.connection import RedisSettings

HERE = Path(__file__).parent
PACKAGES = HERE / ".packages"
VERSIONS = ("5.63.0", "5.81.3", "6.2.0", "6.7.0")
IOREDIS = "5.11.1"
"""What talks to Redis; BullMQ 5 brings one along, BullMQ 6 wants it beside it."""
PATIENCE = 30
"""Seconds after which Node is taken for stuck."""


def need(*versions: str) -> None:
    """Skip the test, and say why, where this machine cannot run Node's half of it."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on PATH: install Node.js 20 to test against the real BullMQ")
    for version in versions:
        if why := _missing(version):
            pytest.skip(why)


@cache
def _missing(version: str) -> str:
    # Asked once: without a network each try takes a while.
    try:
        modules(version)
    except NotInstalled as error:
        return str(error)
    return ""


def modules(version: str) -> Path:
    """The node_modules of that BullMQ. Raises NotInstalled."""
    return fetched(version, {"bullmq": version} | ({"ioredis": IOREDIS} if version.startswith("6") else {}))


def fetched(name: str, wanted: dict[str, str]) -> Path:
    """The node_modules with these packages of npm's, installed if they are not there yet. Raises NotInstalled."""
    folder = PACKAGES / name
    folder.mkdir(parents=True, exist_ok=True)
    # Several test processes may want it at once.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists():
            (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
            npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
            try:
                subprocess.run(npm, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
            except subprocess.CalledProcessError as error:
                raise NotInstalled(f"npm could not install {wanted}: {error.stderr}") from None
            except subprocess.TimeoutExpired as error:
                raise NotInstalled(f"npm could not install {wanted}: {error}") from None
            done.touch()
    return folder / "node_modules"


def connection(url: str) -> dict[str, Any]:
    """What ioredis wants to know for this URL."""
    settings = RedisSettings.parse(url)
    place = {"path": settings.unix_socket} if settings.unix_socket else {"host": settings.host, "port": settings.port}
    return {**place, "maxRetriesPerRequest": None}


class NotInstalled(Exception):
    """A package of npm's is not here and cannot be fetched."""


class Told(list[dict[str, Any]]):
    """What Node's objects told, in order."""

    def of(self, source: str, event: str) -> list[list[Any]]:
        return [told["args"] for told in self if told["from"] == source and told["event"] == event]


class NodeSide:
    """`async with NodeSide("5.63.0", url) as node`: BullMQ's objects by name, their methods, what they told."""

    def __init__(self, version: str, url: str) -> None:
        self.version = version
        self.major = int(version.partition(".")[0])
        self.told = Told()
        self._url = url
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> NodeSide:
        program, env = self._program()
        self._process = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24, env=os.environ | env
        )
        self._reader = asyncio.create_task(self._read())
        return self

    def _program(self) -> tuple[list[str], dict[str, str]]:
        """The other side's command, and what its environment has beside ours."""
        command = ["node", str(HERE / "node" / "side.js"), json.dumps(connection(self._url))]
        return command, {"NODE_PATH": str(modules(self.version))}

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
        assert self._reader is not None
        await self._reader

    async def kill(self) -> None:
        """As a machine dies: nothing is given back."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def make(self, kind: str, name: str, /, *args: Any, **options: Any) -> None:
        """`new bullmq[kind](...args, options)`, called `name` here; ready when this returns."""
        await self._ask(make=kind, args=[*args, options], **{"as": name})

    async def call(self, on: str, method: str, *args: Any, **more: Any) -> Any:
        """What a method returns. `job="7"` calls it on that job of a queue, `with_="events"` puts that object first."""
        if "with_" in more:
            more["with"] = more.pop("with_")
        return await self._ask(on=on, call=method, args=list(args), **more)

    async def release(self, job_id: str) -> None:
        """Let a job go on whose data say `{"do": "hold"}`."""
        await self._ask(release=job_id)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until what Node told makes this true; returns it."""
        async with asyncio.timeout(PATIENCE):
            while not (found := condition()):
                self._changed.clear()
                await self._changed.wait()
        return found

    async def heard(self, source: str, event: str, count: int = 1) -> list[list[Any]]:
        """Wait until an object has told an event so often; the arguments of each."""
        found: list[list[Any]] = await self.until(
            lambda: len(self.told.of(source, event)) >= count and self.told.of(source, event)
        )
        return found

    async def _ask(self, **order: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": number, **order}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "id" not in said:
                self.told.append(said)
                self._changed.set()
            elif "error" in said:
                self._answers.pop(said["id"]).set_exception(NodeError(said["error"]))
            else:
                self._answers.pop(said["id"]).set_result(said["result"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(NodeError("the Node process ended"))


class NodeError(Exception):
    """What a method of BullMQ's raised."""
