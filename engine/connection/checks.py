"""Start-up checks of a server: version, eviction policy, durability, permissions, cluster. Works over any Link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from engine.connection.link import Argument, Link, Reply
from engine.errors import ServerBusy, ServerError, ServerUnfit

_FLOORS = {"Redis": (7, 0), "Valkey": (7, 2)}
_POLICY_REMEDY = "CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration file"
_DURABLE = "--require-durable needs appendonly yes and appendfsync everysec or always"
_COMMANDS_SHOWN = 12
UNASKED = "the server cannot say which commands our user may run: one that it refuses would break a script off halfway"

_ASK_ACL = """
if not redis.acl_check_cmd then return false end
local key, denied = ARGV[1], {}
for number = 2, #ARGV do
  local words = {}
  for word in string.gmatch(ARGV[number], '%S+') do words[#words + 1] = word end
  -- Enough arguments for every command: the server does not count them before it looks for keys.
  for _ = 1, 5 do words[#words + 1] = key end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(words))
  if known and not allowed then denied[#denied + 1] = ARGV[number] end
end
return denied
"""
"""Which of the commands our user may not run. A user needs no right but EVAL to ask; servers before Redis 7.0 cannot say."""


async def check_server(
    link: Link,
    *,
    allow: frozenset[str] = frozenset(),
    require_durable: bool = False,
    commands: Sequence[str] = (),
    keys: Sequence[str] = (),
) -> list[str]:
    """Raise ServerUnfit, one line that says how to mend or override it, for a server on which jobs would not be safe.
    Returns warnings, one line each.

    allow            what is accepted: "old-server", "eviction", "replica"
    require_durable  refuse a server without an append-only file or that never syncs it, which else is a warning
    commands, keys   as for `check_access`
    """
    info = await _info(link)
    if "old-server" not in allow:
        _check_version(info)
    if info.get("role") == "slave" and "replica" not in allow:
        raise await _replica(link)
    if "eviction" not in allow:
        _check_policy(await _setting(link, "maxmemory-policy") or info.get("maxmemory_policy", ""))
    warnings = await _check_durable(link, info, require_durable)
    if not commands and not keys:
        return warnings
    denied = await check_access(link, commands, keys, allow=allow)
    if denied:
        raise await not_allowed(link, denied, keys)
    if denied is None:
        warnings.append(UNASKED)
    return warnings


async def check_access(
    link: Link, commands: Iterable[str], keys: Sequence[str], *, allow: frozenset[str] = frozenset()
) -> frozenset[str] | None:
    """Which commands, such as "XADD" or "CONFIG GET", our user may not run on these keys; None where the server cannot say.
    One round trip.

    Raises ServerUnfit for a read-only replica, unless "replica" is in `allow`, and for a node of a cluster on which these
    keys cannot be used together.
    """
    names = sorted(set(commands))
    # Without commands to ask for there is no script to run: for one who only reads, such as `corral migrate check`.
    ask: tuple[Argument, ...] = ("EVAL", _ASK_ACL, 0, keys[0] if keys else "0", *names) if names else ("PING",)
    asked: list[tuple[Argument, ...]] = [("HELLO",), ask]
    if keys:
        asked.append(("EXISTS", *keys))
    hello, denied, *found = await link.call_many(asked)
    if "replica" not in allow and _role(hello) in (b"replica", b"slave"):
        raise await _replica(link)
    for reply in found:
        if isinstance(reply, ServerError) and (misplaced := elsewhere(reply, keys)):
            raise misplaced
    if isinstance(denied, ServerBusy):
        raise denied
    if isinstance(denied, ServerError):
        return frozenset(("EVAL",)) if denied.code == "NOPERM" and "EVAL" in names else None
    return None if denied is None else frozenset() if not names else frozenset(name.decode() for name in denied)


async def not_allowed(link: Link, denied: Iterable[str], keys: Sequence[str]) -> ServerUnfit:
    """The error for commands that our user may not run."""
    try:
        user = (await link.call("ACL", "WHOAMI")).decode()
    except ServerError:
        user = "USER"
    names = sorted(denied)
    more = f" and {len(names) - _COMMANDS_SHOWN} more" if len(names) > _COMMANDS_SHOWN else ""
    grant = " ".join(f"+{name.lower().replace(' ', '|')}" for name in names)
    where, pattern = (
        (f" on keys such as {keys[0]!r}", " and a pattern for these keys, if it has none") if keys else ("", "")
    )
    return ServerUnfit(
        f"user {user!r} may not run {', '.join(names[:_COMMANDS_SHOWN])}{more}{where}: ACL SETUSER {user} {grant}{pattern}"
    )


def elsewhere(error: ServerError, keys: Sequence[str]) -> ServerUnfit | None:
    """The error for a call that a cluster node refuses because of its keys; None for other errors."""
    if error.code == "CROSSSLOT":
        return ServerUnfit(
            f"the server is a node of a Redis Cluster, where the keys of a queue ({keys[0]!r} and the others) are spread over its "
            "slots: give the queue a prefix with a hash tag, such as prefix='{bull}' (--prefix, JOB_QUEUE_PREFIX)"
        )
    if error.code == "MOVED":
        node = str(error).rpartition(" ")[2]
        return ServerUnfit(
            f"the server is a node of a Redis Cluster, and the slot of {keys[0]!r} is on another node: connect to {node}; "
            "redirections are not followed"
        )
    return None


async def _replica(link: Link) -> ServerUnfit:
    try:
        _, host, port, *_ = await link.call("ROLE")
        primary = f"its primary, {host.decode()}:{port}"
    except (ServerError, ValueError):
        primary = "its primary"
    return ServerUnfit(f"the server is a read-only replica, on which no job can be written: connect to {primary}")


def _role(hello: Reply) -> bytes:
    """Of a server, by its reply to HELLO; empty where it gave none."""
    if isinstance(hello, list) and b"role" in hello[::2]:
        role: bytes = hello[2 * hello[::2].index(b"role") + 1]
        return role
    return b""


async def _info(link: Link) -> Mapping[str, str]:
    """All fields of INFO; empty if our user may not run it."""
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


async def _setting(link: Link, name: str) -> str:
    """The value of a server's setting; empty where an ACL refuses CONFIG or a service hides it."""
    try:
        reply = await link.call("CONFIG", "GET", name)
    except ServerError:
        return ""
    return reply[1].decode() if reply else ""


def _check_policy(policy: str) -> None:
    if policy not in ("noeviction", ""):
        raise ServerUnfit(
            f"the server's maxmemory-policy is {policy}, under which it deletes jobs when memory is full: "
            f"{_POLICY_REMEDY}, or pass --allow eviction"
        )


async def _check_durable(link: Link, info: Mapping[str, str], required: bool) -> list[str]:
    remedy = "CONFIG SET {}, and the same in its configuration file"
    if required and "aof_enabled" not in info:
        raise ServerUnfit(f"{_DURABLE}, and our user may not run INFO, which says so: allow it with +info")
    if info.get("aof_enabled", "1") == "0":
        said = "the server keeps no append-only file, so a crash loses what was added since its last snapshot"
        how = "appendonly yes"
    else:
        sync = await _setting(link, "appendfsync")
        if required and not sync:
            return [f"{_DURABLE}; its appendfsync cannot be read (CONFIG GET): check it on the server"]
        if sync != "no":
            return []
        said = (
            "the server has appendfsync no, so a crash of its machine loses what the system had not yet written to disk"
        )
        how = "appendfsync everysec"
    if required:
        raise ServerUnfit(f"{said}: {_DURABLE}: {remedy.format(how)}")
    return [f"{said}: {remedy.format(how)}; --require-durable makes this a refusal"]
