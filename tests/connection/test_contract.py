"""The contract of `Link`, on our own connection and on redis-py: replies, errors, order, cancellation, closing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from engine.connection import Connection, RedisPyLink, RedisSettings
from engine.errors import InvalidData, InvalidOption, LinkClosed, OutcomeUnknown, ServerBusy, ServerError
from tests.connection.conftest import AnyLink, OpenLink


async def test_replies_are_those_of_resp2(link: AnyLink) -> None:
    assert await link.call("SET", "text", "\u00e4\U0001f4e4") == b"OK"
    assert await link.call("GET", "text") == "\u00e4\U0001f4e4".encode()
    assert await link.call("GET", "nothing") is None
    assert await link.call("HSET", "hash", "a", 1, "b", 2.5, b"c", memoryview(b"\x00\r\n")) == 3
    assert await link.call("HGETALL", "hash") == [b"a", b"1", b"b", b"2.5", b"c", b"\x00\r\n"]
    assert await link.call("ZADD", "zset", 1.5, "m") == 1
    assert await link.call("ZPOPMIN", "zset") == [b"m", b"1.5"]
    assert await link.call("EVAL", "return {1, 'two', {3}, false, 4}", 0) == [1, b"two", [3], None, 4]
    assert await link.call("EXISTS", "text") == 1
    assert await link.call("LRANGE", "nothing", 0, -1) == []
    assert isinstance(await link.call("INFO", "server"), bytes)
    assert await link.call("CLIENT", "GETNAME") == b"a-test"


async def test_an_error_reply_is_raised_with_its_code(link: AnyLink) -> None:
    await link.call("SET", "text", "x")
    with pytest.raises(ServerError, match=r"^WRONGTYPE Operation") as wrong:
        await link.call("LPUSH", "text", "y")
    assert wrong.value.code == "WRONGTYPE"
    with pytest.raises(ServerError, match=r"^NOSCRIPT ") as unknown:
        await link.call("EVALSHA", "0" * 40, 0)
    assert (unknown.value.code, isinstance(unknown.value, ServerBusy)) == ("NOSCRIPT", False)
    with pytest.raises(ServerError, match=r"^ERR unknown command"):
        await link.call("NOSUCHCOMMAND")


BUSY = ["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "OOM"]


@pytest.mark.parametrize("code", [*BUSY, "ASK", "MOVED", "ERR", "MINE"])
async def test_a_busy_server_differs_from_an_error(link: AnyLink, code: str) -> None:
    with pytest.raises(ServerError) as raised:
        await link.call("EVAL", "return redis.error_reply(ARGV[1])", 0, f"{code} 3999 127.0.0.1:6381")
    assert (raised.value.code, str(raised.value)) == (code, f"{code} 3999 127.0.0.1:6381")
    assert isinstance(raised.value, ServerBusy) == (code in BUSY)


@pytest.mark.parametrize("code", ["READONLY", "MASTERDOWN"])
async def test_a_demoted_primary_causes_a_reconnect(link: AnyLink, code: str) -> None:
    before = await link.call("CLIENT", "ID")
    replies = await link.call_many(
        [("PING",), ("EVAL", "return redis.error_reply(ARGV[1])", 0, f"{code} because"), ("PING",)]
    )
    assert [replies[0], replies[2]] == [b"PONG", b"PONG"]
    assert isinstance(replies[1], ServerBusy)
    assert await link.call("CLIENT", "ID") > before


async def test_call_many_returns_replies_and_errors_in_order(link: AnyLink) -> None:
    replies = await link.call_many(
        [("SET", "n", 1), ("LPUSH", "n", 1), ("INCR", "n"), ("EVAL", "return redis.error_reply('OOM full')", 0)]
    )
    assert (replies[0], replies[2]) == (b"OK", 2)
    assert [type(replies[1]), type(replies[3])] == [ServerError, ServerBusy]
    assert (replies[1].code, replies[3].code) == ("WRONGTYPE", "OOM")
    assert await link.call_many([]) == []


async def test_an_error_inside_an_array_is_a_value(link: AnyLink) -> None:
    await link.call("SET", "text", "x")
    replies = await link.call_many([("MULTI",), ("INCR", "text"), ("APPEND", "text", "y"), ("EXEC",)])
    assert (replies[:3], replies[3][1]) == ([b"OK", b"QUEUED", b"QUEUED"], 2)
    assert isinstance(replies[3][0], ServerError)


@pytest.mark.parametrize("argument", [True, None, bytearray(b"x"), [1], "\ud800"])
async def test_an_argument_of_a_wrong_type_sends_nothing(link: AnyLink, argument: Any) -> None:
    with pytest.raises(InvalidData, match=r"'SET'.*give bytes, str, int, float or memoryview"):
        await link.call("SET", "k", argument)
    with pytest.raises(InvalidData):
        await link.call_many([("SET", "k", 1), ("SET", "k", argument)])
    assert await link.call("GET", "k") is None


async def test_thousands_of_arguments_fit_into_one_command(link: AnyLink) -> None:
    values = [b"%d" % n for n in range(9000)]
    assert await link.call("RPUSH", "list", *values) == 9000
    assert await link.call("LRANGE", "list", 0, -1) == values


async def test_commands_go_out_in_the_order_of_the_calls(link: AnyLink) -> None:
    async def push_pair(n: int) -> None:
        await link.call_many([("RPUSH", "list", n), ("RPUSH", "list", n)])

    await asyncio.gather(*(link.call("RPUSH", "list", n) if n % 3 else push_pair(n) for n in range(300)))
    expected = [b"%d" % n for n in range(300) for _ in range(1 if n % 3 else 2)]
    assert await link.call("LRANGE", "list", 0, -1) == expected


async def test_a_cancelled_call_does_not_shift_replies(link: AnyLink) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)

    async def echo(n: int) -> None:
        if n % 5:
            assert await link.call("ECHO", n) == b"%d" % n
        else:
            assert await link.call_many([("ECHO", n), ("ECHO", -n)]) == [b"%d" % n, b"%d" % -n]

    # A cancelled call costs redis-py its connection, so fewer there.
    rounds = 40 if isinstance(link, Connection) else 4
    for start in range(0, rounds * 50, 50):
        tasks = [asyncio.create_task(echo(n)) for n in range(start, start + 50)]
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        victims = chance.sample(tasks, 10)
        for victim in victims:
            victim.cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
    assert await link.call("ECHO", "last") == b"last"


async def test_a_blocking_call_may_exceed_the_call_timeout(opened: OpenLink, redis_url: str) -> None:
    link = await opened(redis_url, call_timeout=50)
    assert await link.call_blocking("BZPOPMIN", "nothing", 0.2, timeout=0.2) is None
    assert await link.call("PING") == b"PONG"
    with pytest.raises(InvalidOption, match="block forever"):
        await link.call_blocking("BZPOPMIN", "nothing", 0, timeout=0)


async def test_a_cancelled_blocking_call_takes_nothing(opened: OpenLink, link: AnyLink, redis_url: str) -> None:
    blocking = await opened(redis_url)
    task = asyncio.create_task(blocking.call_blocking("BZPOPMIN", "zset", 30, timeout=30))
    while b"cmd=bzpopmin" not in await link.call("CLIENT", "LIST"):
        pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while b"cmd=bzpopmin" in await link.call("CLIENT", "LIST"):
        pass
    await link.call("ZADD", "zset", 1, "m")
    assert await blocking.call_blocking("BZPOPMIN", "zset", 5, timeout=5) == [b"zset", b"m", b"1"]


async def test_closing_ends_calls_under_way_and_refuses_later_ones(
    opened: OpenLink, link: AnyLink, redis_url: str
) -> None:
    closing = await opened(redis_url)
    call = asyncio.create_task(closing.call("BLPOP", "nothing", 5))
    while b"cmd=blpop" not in await link.call("CLIENT", "LIST"):
        pass
    await closing.close()
    with pytest.raises(OutcomeUnknown, match="may have been carried out"):
        await call
    with pytest.raises(LinkClosed, match="was closed by this process; the command was not sent"):
        await closing.call("PING")
    with pytest.raises(LinkClosed):
        await closing.call_many([("PING",)])
    assert not closing.connected
    assert repr(closing).endswith(" closed>")
    await closing.close()


@pytest.mark.parametrize("kind", [Connection, RedisPyLink])
async def test_a_link_that_was_never_connected_says_so(kind: type[AnyLink]) -> None:
    link = kind(RedisSettings())
    with pytest.raises(LinkClosed, match=r"is not open; await connect\(\) first"):
        await link.call("PING")
    assert repr(link).endswith(" new>")
    await link.close()


async def test_the_prelude_is_sent_first_and_may_fail(opened: OpenLink, redis_url: str) -> None:
    link = await opened(redis_url, prelude=[("SET", "said", "1"), ("NOSUCHCOMMAND",), ("INCR", "said")])
    assert await link.call("GET", "said") == b"2"
