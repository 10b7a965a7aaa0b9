"""What a server must be before jobs are trusted to it. Asks through any Link; knows no queues."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from engine.errors import ServerError, ServerUnfit
from engine.link.port import Link

_FLOORS = {"Redis": (7, 0), "Valkey": (7, 2)}
_MOST_ARGUMENTS = 5
_CONFIG_NOTE = "CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration file"


async def check_server(
    link: Link,
    *,
    allow: frozenset[str] = frozenset(),
    require_durable: bool = False,
    commands: Sequence[str] = (),
) -> list[str]:
    """Raise ServerUnfit, one line that says how to mend or override it, for a server on which jobs would not be safe.
    Returns warnings, one line each.

    allow            what is put up with: "old-server", "eviction"
    require_durable  refuse a server without an append-only file, which is else a warning
    commands         what our user must be allowed to run, such as "EVALSHA" or "CONFIG GET"; not looked at where the
                     user may not ask
    """
    info = await _info(link)
    if "old-server" not in allow:
        _check_version(info)
    if "eviction" not in allow:
        _check_policy(await _policy(link, info))
    await _check_permissions(link, commands)
    return _check_durable(info, require_durable)


async def _info(link: Link) -> Mapping[str, str]:
    """All of INFO's fields; empty where our user may not ask, which leaves nothing to judge by."""
    try:
        reply = await link.call("INFO")
    except ServerError as error:
        if error.code != "NOPERM":
            raise
        return {}
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _check_version(info: Mapping[str, str]) -> None:
    kind, text = _version(info)
    found = re.match(r"(\d+)\.(\d+)", text)
    floor = _FLOORS[kind]
    if found and (int(found[1]), int(found[2])) < floor:
        wanted = " or ".join(f"{name} {high}.{low}" for name, (high, low) in _FLOORS.items())
        raise ServerUnfit(f"the server is {kind} {text}: update it to {wanted} or later, or pass --allow old-server")


def _version(info: Mapping[str, str]) -> tuple[str, str]:
    # Valkey gives a redis_version too, for old clients: 7.2.4 whatever its own is.
    if "valkey_version" in info:
        return "Valkey", info["valkey_version"]
    return "Redis", info.get("redis_version", "")


async def _policy(link: Link, info: Mapping[str, str]) -> str:
    try:
        reply = await link.call("CONFIG", "GET", "maxmemory-policy")
    except ServerError:
        # Refused by ACL, or by a service that hides CONFIG; INFO tells it as well.
        return info.get("maxmemory_policy", "")
    return reply[1].decode() if reply else info.get("maxmemory_policy", "")


def _check_policy(policy: str) -> None:
    if policy not in ("noeviction", ""):
        raise ServerUnfit(
            f"the server's maxmemory-policy is {policy}, under which it throws jobs away when memory is full: "
            f"{_CONFIG_NOTE}, or pass --allow eviction"
        )


def _check_durable(info: Mapping[str, str], required: bool) -> list[str]:
    if info.get("aof_enabled", "1") != "0":
        return []
    said = "the server keeps no append-only file, so a crash loses what was added since its last snapshot"
    remedy = "CONFIG SET appendonly yes, and the same in its configuration file"
    if required:
        raise ServerUnfit(f"{said}: {remedy}, or leave out --require-durable")
    return [f"{said}: {remedy}; --require-durable makes this a refusal"]


async def _check_permissions(link: Link, commands: Sequence[str]) -> None:
    if not commands:
        return
    # The server looks at the number of arguments first, so each command is asked with none, one, two and so on.
    asked = [(command, count) for command in commands for count in range(_MOST_ARGUMENTS + 1)]
    try:
        user = await link.call("ACL", "WHOAMI")
        replies = await link.call_many(
            [("ACL", "DRYRUN", user, *command.split(), *["0"] * count) for command, count in asked]
        )
    except ServerError:
        return
    # Keys that our user may not touch are told in other words; "0" is none of ours anyway.
    refusals = zip(asked, replies, strict=True)
    denied = dict.fromkeys(
        command for (command, _), reply in refusals if isinstance(reply, bytes) and b"no permissions to run" in reply
    )
    if denied:
        grant = " ".join(f"+{command.lower().replace(' ', '|')}" for command in denied)
        raise ServerUnfit(
            f"user {user.decode()!r} may not run {', '.join(denied)}: ACL SETUSER {user.decode()} {grant}"
        )
