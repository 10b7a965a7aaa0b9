"""Start-up checks: servers that pass, servers that are refused, and the messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from engine.connection import Argument, Link, Reply, Waiter, check_access, check_server, open_link
from engine.connection.embedded import EmbeddedServer
from engine.errors import ServerError, ServerUnfit


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedServer]:
    limited = ["--user", "limited", "on", "nopass", "~bull:*", "+@all", "-config", "-xadd", "-acl", "-client|list"]
    mute = ["--user", "mute", "on", "nopass", "~*", "-@all", "+ping", "+evalsha"]
    with EmbeddedServer(extra_args=[*limited, *mute]) as server:
        yield server


@pytest.fixture
async def admin(own_server: EmbeddedServer) -> AsyncIterator[Link]:
    link = await open_link(own_server.url)
    yield link
    await link.call("CONFIG", "SET", "maxmemory-policy", "noeviction", "appendonly", "yes", "appendfsync", "everysec")
    # Until its first append-only file is written the server hears no SIGTERM.
    while b"aof_rewrite_in_progress:1" in (await link.call("INFO", "persistence")):
        pass
    await link.close()


async def test_a_fit_server_passes_without_a_word(admin: Link) -> None:
    assert await check_server(admin, require_durable=True, commands=["EVALSHA", "XADD", "CLIENT LIST"]) == []


async def test_a_server_that_evicts_is_refused_unless_allowed(admin: Link) -> None:
    await admin.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(
        ServerUnfit, match=r"allkeys-lru.*CONFIG SET maxmemory-policy noeviction.*--allow eviction"
    ) as no:
        await check_server(admin)
    assert "\n" not in str(no.value)
    assert await check_server(admin, allow=frozenset({"eviction"})) == []


async def test_eviction_is_noticed_without_config_get(admin: Link, own_server: EmbeddedServer) -> None:
    await admin.call("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    link = await open_link(own_server.url.replace("unix://", "unix://limited@"))
    try:
        with pytest.raises(ServerUnfit, match="volatile-ttl"):
            await check_server(link)
    finally:
        await link.close()


async def test_a_server_without_aof_is_a_warning_or_refused(admin: Link) -> None:
    await admin.call("CONFIG", "SET", "appendonly", "no")
    (warning,) = await check_server(admin)
    assert "append-only file" in warning
    assert "--require-durable" in warning
    with pytest.raises(ServerUnfit, match="CONFIG SET appendonly yes"):
        await check_server(admin, require_durable=True)


async def test_durable_names_what_it_requires_of_the_server(admin: Link) -> None:
    await admin.call("CONFIG", "SET", "appendfsync", "no")
    (warning,) = await check_server(admin)
    assert "appendfsync no" in warning
    with pytest.raises(ServerUnfit, match="needs appendonly yes and appendfsync everysec or always"):
        await check_server(admin, require_durable=True)
    await admin.call("CONFIG", "SET", "appendfsync", "always")
    assert await check_server(admin, require_durable=True) == []


async def test_durable_is_not_taken_for_granted(own_server: EmbeddedServer) -> None:
    async with as_user(own_server, "mute") as link:
        assert await check_server(link) == []
        with pytest.raises(ServerUnfit, match="may not run INFO"):
            await check_server(link, require_durable=True)
    async with as_user(own_server, "limited") as link:
        (warning,) = await check_server(link, require_durable=True)
        assert "its appendfsync cannot be read" in warning


async def test_a_missing_command_is_named_without_acl_rights(own_server: EmbeddedServer) -> None:
    commands, keys = ["EVAL", "EVALSHA", "XADD", "CLIENT LIST", "ZADD", "SET", "MSETEX", "ZINTERCARD"], ["bull:q:meta"]
    async with as_user(own_server, "limited") as link:
        with pytest.raises(
            ServerUnfit, match=r"may not run CLIENT LIST, XADD .*: ACL SETUSER USER \+client\|list \+xadd"
        ):
            await check_server(link, commands=commands, keys=keys)
        allowed = [command for command in commands if command not in ("XADD", "CLIENT LIST")]
        assert await check_server(link, commands=allowed, keys=keys) == []
        with pytest.raises(ServerUnfit, match=r"on keys such as 'other:q:meta'.* and a pattern for these keys"):
            await check_server(link, commands=allowed, keys=["other:q:meta"])


async def test_who_may_not_ask_is_refused_or_warned(own_server: EmbeddedServer) -> None:
    async with as_user(own_server, "mute") as link:
        with pytest.raises(ServerUnfit, match="may not run EVAL"):
            await check_server(link, commands=["EVAL", "XADD"])
        (warning,) = await check_server(link, commands=["XADD"])
        assert "cannot say which commands" in warning


async def test_a_replica_is_refused_and_names_its_primary(admin: Link, own_server: EmbeddedServer) -> None:
    await admin.call("REPLICAOF", "127.0.0.1", 1)
    try:
        with pytest.raises(ServerUnfit, match=r"read-only replica.*connect to its primary, 127\.0\.0\.1:1"):
            await check_server(admin)
        async with as_user(own_server, "limited") as link:
            with pytest.raises(ServerUnfit, match="read-only replica"):
                await check_access(link, [], [])
        assert await check_server(admin, allow=frozenset({"replica"})) == []
    finally:
        await admin.call("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def as_user(server: EmbeddedServer, user: str) -> AsyncIterator[Link]:
    link = await open_link(server.url.replace("unix://", f"unix://{user}@"))
    try:
        yield link
    finally:
        await link.close()


class Says:
    """A link to a server whose INFO is given: servers this old are not to be had here."""

    def __init__(self, info: str) -> None:
        self._info = info

    async def call(self, *command: Argument) -> Reply:
        if command == ("INFO",):
            return self._info.encode()
        raise ServerError("NOPERM no")

    def post(self, waiter: Waiter, *command: Argument) -> None:
        raise NotImplementedError

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        return [ServerError("NOPERM no") for _ in commands]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("info", "old"),
    [
        ("redis_version:6.2.14", "Redis 6.2.14"),
        ("redis_version:7.0.0", None),
        ("redis_version:8.4.1", None),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.0", None),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.1.9", "Valkey 7.1.9"),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2", None),
        ("redis_version:unstable", None),
    ],
)
async def test_a_server_below_the_floor_is_refused_unless_allowed(info: str, old: str | None) -> None:
    link = Says(f"# Server\r\n{info}\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n")
    if old:
        with pytest.raises(
            ServerUnfit, match=f"{old}: update it to Redis 7.0 or Valkey 7.2 or later.*--allow old-server"
        ):
            await check_server(link)
    else:
        assert await check_server(link) == []
    assert await check_server(link, allow=frozenset({"old-server"})) == []
