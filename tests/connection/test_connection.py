"""Features of our own connection only: one write per loop iteration, high-water mark, several addresses, TLS."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.connection import Connection, RedisSettings, open_link
from engine.connection.dial import Address, interleave
from engine.connection.embedded import EmbeddedServer
from engine.connection.stream import HIGH_WATER
from engine.errors import ConnectFailed, InvalidOption, OutcomeUnknown
from tests.support.proxy import Proxy

Until = Callable[[Callable[[], bool], str], Awaitable[None]]


@asynccontextmanager
async def connected(where: str, **options: object) -> AsyncIterator[Connection]:
    link = Connection(RedisSettings.parse(where), **options)  # type: ignore[arg-type]
    await link.connect()
    try:
        yield link
    finally:
        await link.close()


async def test_calls_of_one_tick_leave_in_one_write(redis_url: str) -> None:
    async with connected(redis_url) as link:
        before = link.writes
        calls = [link.call("INCR", "n") for _ in range(100)]
        replies = await asyncio.gather(*calls, link.call_many([("INCR", "n"), ("INCR", "n")]))
        assert replies == [*range(1, 101), [101, 102]]
        assert link.writes - before == 1


async def test_a_blocking_call_leaves_at_once(redis_url: str) -> None:
    async with connected(redis_url) as link:
        before = link.writes
        call = link.call_blocking("BZPOPMIN", "none", 0.05, timeout=0.05)
        call.send(None)  # up to its first wait, without a turn of the event loop
        assert link.writes - before == 1
        with pytest.raises(asyncio.CancelledError):
            call.throw(asyncio.CancelledError)


async def test_commands_above_high_water_wait_in_order(server: EmbeddedServer, until: Until) -> None:
    async with Proxy("127.0.0.1", server.port) as proxy, connected(f"redis://127.0.0.1:{proxy.port}") as link:
        await link.call("DEL", "list")
        proxy.hold_replies = True
        calls = asyncio.gather(*(link.call("RPUSH", "list", n) for n in range(HIGH_WATER + 500)))
        kept = f"connected, {HIGH_WATER} in flight, 500 unsent>"
        await until(lambda: repr(link).endswith(kept), kept)
        late = asyncio.ensure_future(link.call("RPUSH", "list", HIGH_WATER + 500))
        proxy.hold_replies = False
        assert [*await calls, await late] == list(range(1, HIGH_WATER + 502))
        assert await link.call("LRANGE", "list", 0, -1) == [b"%d" % n for n in range(HIGH_WATER + 501)]


async def test_a_batch_larger_than_the_high_water_mark_goes_whole(redis_url: str) -> None:
    async with connected(redis_url) as link:
        many = [("INCR", "n")] * (2 * HIGH_WATER)
        one, replies, last = await asyncio.gather(link.call("INCR", "n"), link.call_many(many), link.call("INCR", "n"))
        assert [one, *replies, last] == list(range(1, 2 * HIGH_WATER + 3))


async def test_a_peer_that_reads_slowly_holds_the_callers(server: EmbeddedServer, until: Until) -> None:
    value = b"x" * (1 << 20)
    async with Proxy("127.0.0.1", server.port) as proxy, connected(f"redis://127.0.0.1:{proxy.port}") as link:
        proxy.hold_requests = True

        async def set_by_turns(n: int) -> bool:
            for _ in range(n):
                await asyncio.sleep(0)
            return bool(await link.call("SET", f"big{n}", value) == b"OK")

        calls = asyncio.gather(*(set_by_turns(n) for n in range(40)))
        await until(lambda: not repr(link).endswith(" 0 unsent>"), "some commands are kept back")
        proxy.hold_requests = False
        assert all(await calls)
        assert await link.call("STRLEN", "big39") == len(value)
        await link.call("DEL", *(f"big{n}" for n in range(40)))


async def test_unsent_commands_are_sent_after_a_reconnect(server: EmbeddedServer) -> None:
    async with (
        Proxy("127.0.0.1", server.port) as proxy,
        connected(server.url) as direct,
        connected(f"redis://127.0.0.1:{proxy.port}") as link,
    ):
        await direct.call("DEL", "n")
        proxy.drop_replies = True
        calls = [asyncio.ensure_future(link.call("INCR", "n")) for _ in range(HIGH_WATER + 50)]
        while await direct.call("GET", "n") != b"%d" % HIGH_WATER:
            pass
        await proxy.reset()
        proxy.drop_replies = False
        results = await asyncio.gather(*calls, return_exceptions=True)
        # Those written are unknown and were carried out once; those kept back were sent once, later.
        assert {type(result) for result in results[:HIGH_WATER]} == {OutcomeUnknown}
        assert results[HIGH_WATER:] == list(range(HIGH_WATER + 1, HIGH_WATER + 51))


async def test_a_reply_nobody_asked_for_ends_the_line(until: Until) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"+PONG\r\n")
        await until(lambda: link.connected, "the greeting is over")
        writer.write(b"+MORE\r\n")
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        link = Connection(RedisSettings(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
        await link.connect()
        try:
            lost: list[bool] = []
            link.on_disconnect.append(lambda: lost.append(True))
            await until(lambda: bool(lost), "the line is dropped")
        finally:
            await link.close()


async def test_what_is_not_a_redis_is_told_so() -> None:
    async def serve_web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(serve_web, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="check that this is a Redis"):
            await open_link(f"redis://127.0.0.1:{port}", implementation="own")


async def test_every_address_of_a_host_is_tried(server: EmbeddedServer) -> None:
    async def both_families(host: str, port: int) -> Sequence[Address]:
        assert host == "dual.example"
        return [(socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port))]

    async with connected(f"redis://dual.example:{server.port}", resolver=both_families) as link:
        assert await link.call("PING") == b"PONG"


async def test_a_dead_address_gets_its_share_of_the_timeout(server: EmbeddedServer) -> None:
    # A listener whose queue is full accepts no more and refuses nothing: the attempt hangs.
    with socket.socket() as deaf, socket.socket() as filler, socket.socket() as filler2:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for sock in (filler, filler2):
            sock.setblocking(False)
            sock.connect_ex(deaf.getsockname())

        async def deaf_first(host: str, port: int) -> Sequence[Address]:
            return [(socket.AF_INET, deaf.getsockname()), (socket.AF_INET, ("127.0.0.1", port))]

        where = f"redis://some.example:{server.port}?connect_timeout=1s"
        async with connected(where, resolver=deaf_first) as link:
            assert await link.call("PING") == b"PONG"


async def test_an_unknown_host_is_told_so() -> None:
    with pytest.raises(ConnectFailed, match="host name is not known; check REDIS_URL"):
        await open_link("redis://no-such-host.invalid", implementation="own")


def test_the_families_take_turns() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    addresses = [(six, "a"), (six, "b"), (six, "c"), (four, "d")]
    assert interleave(addresses) == [(six, "a"), (four, "d"), (six, "b"), (six, "c")]


async def test_embedded_starts_a_server_in_the_folder(tmp_path: Path) -> None:
    from engine.connection.embedded import stop_server

    link = await open_link(f"embedded:{tmp_path}")
    try:
        assert await link.call("CONFIG", "GET", "appendonly") == [b"appendonly", b"yes"]
    finally:
        await link.close()
        await asyncio.to_thread(stop_server, str(tmp_path))


async def test_the_implementation_can_be_chosen_by_the_environment(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_LINK", "redis-py")
    link = await open_link(redis_url)
    await link.close()
    assert repr(link).startswith("<RedisPyLink ")
    monkeypatch.setenv("CORRAL_LINK", "carrier-pigeon")
    with pytest.raises(InvalidOption, match="CORRAL_LINK: 'carrier-pigeon'"):
        await open_link(redis_url)


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody but its holder trusts; the key is in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout - -out -"
    name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    made = subprocess.run(f"{request} {name}".split(), capture_output=True, check=True)
    path.write_bytes(made.stdout)
    return path


@pytest.fixture
async def tls_proxy(server: EmbeddedServer, certificate: Path) -> AsyncIterator[Proxy]:
    """TLS ends in the proxy, since the server program of the wheel has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Proxy("127.0.0.1", server.port, tls=context) as proxy:
        yield proxy


@pytest.mark.parametrize("implementation", ["own", "redis-py"])
async def test_tls_with_an_authority_of_ones_own(tls_proxy: Proxy, certificate: Path, implementation: str) -> None:
    url = f"rediss://localhost:{tls_proxy.port}?tls_ca={certificate}"
    link = await open_link(url, implementation=implementation)  # type: ignore[arg-type]
    try:
        assert await link.call("ECHO", "x" * 100_000) == b"x" * 100_000
    finally:
        await link.close()


@pytest.mark.parametrize("implementation", ["own", "redis-py"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_that_is_not_trusted_fails_the_connect(
    tls_proxy: Proxy, certificate: Path, implementation: str, host: str
) -> None:
    # Trusted by nobody in the one case, for another name in the other.
    trust = "" if host == "localhost" else f"?tls_ca={certificate}"
    with pytest.raises(ConnectFailed, match=r"certificate is not trusted .* set tls_ca"):
        await open_link(f"rediss://{host}:{tls_proxy.port}{trust}", implementation=implementation)  # type: ignore[arg-type]


async def test_verification_is_left_out_only_when_told_so(tls_proxy: Proxy) -> None:
    async with connected(f"rediss://127.0.0.1:{tls_proxy.port}?tls_verify=false") as link:
        assert await link.call("PING") == b"PONG"


async def test_tls_to_a_plain_server_is_told_so(server: EmbeddedServer) -> None:
    with pytest.raises(ConnectFailed, match=r"rediss?://"):
        await open_link(f"rediss://127.0.0.1:{server.port}?connect_timeout=1s", implementation="own")


async def test_a_missing_authority_file_is_told_so() -> None:
    with pytest.raises(InvalidOption, match="redis TLS: cannot use /nowhere/ca"):
        await open_link("rediss://localhost?tls_ca=/nowhere/ca.pem", implementation="own")
