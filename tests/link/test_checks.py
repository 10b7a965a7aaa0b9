"""Servers that are fit for jobs, servers that are not, and what is said of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from engine.embedded import EmbeddedServer
from engine.errors import ServerError, ServerUnfit
from engine.link import Argument, Link, Reply, Waiter, check_server, open_link


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedServer]:
    limited = ["--user", "limited", "on", "nopass", "~*", "+@all", "-config", "-xadd", "-acl|dryrun"]
    asking = ["--user", "asking", "on", "nopass", "~*", "+@all", "-xadd", "-client|list"]
    mute = ["--user", "mute", "on", "nopass", "~*", "-@all", "+ping", "+evalsha"]
    with EmbeddedServer(extra_args=[*limited, *asking, *mute]) as server:
        yield server


@pytest.fixture
async def admin(own_server: EmbeddedServer) -> AsyncIterator[Link]:
    link = await open_link(own_server.url)
    yield link
    await link.call("CONFIG", "SET", "maxmemory-policy", "noeviction", "appendonly", "yes")
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


async def test_eviction_is_seen_without_the_right_to_ask_for_the_configuration(
    admin: Link, own_server: EmbeddedServer
) -> None:
    await admin.call("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    link = await open_link(own_server.url.replace("unix://", "unix://limited@"))
    try:
        with pytest.raises(ServerUnfit, match="volatile-ttl"):
            await check_server(link)
    finally:
        await link.close()


async def test_a_server_without_append_only_file_is_a_warning_or_a_refusal(admin: Link) -> None:
    await admin.call("CONFIG", "SET", "appendonly", "no")
    (warning,) = await check_server(admin)
    assert "append-only file" in warning
    assert "--require-durable" in warning
    with pytest.raises(ServerUnfit, match="CONFIG SET appendonly yes"):
        await check_server(admin, require_durable=True)


async def test_a_user_without_a_needed_command_is_refused_where_it_may_ask(own_server: EmbeddedServer) -> None:
    commands = ["EVALSHA", "XADD", "CLIENT LIST", "ZADD"]
    for user, refused in (("asking", True), ("limited", False), ("mute", False)):
        link = await open_link(own_server.url.replace("unix://", f"unix://{user}@"))
        try:
            if refused:
                with pytest.raises(ServerUnfit, match=r"may not run XADD, CLIENT LIST: ACL SETUSER asking \+xadd"):
                    await check_server(link, commands=commands)
            else:
                assert await check_server(link, commands=commands) == []
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
        raise AssertionError("not asked")

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
