"""count_dead_letters: open dead letters by type, error, tenant and day."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.count_dead_letters import count_dead_letters
from tests.support.dead_letters import Death, fail_jobs

DAY = 86_400_000


async def test_open_letters_are_counted_by_kind_the_largest_first(link: Link, keys: Keys) -> None:
    await fail_jobs(
        link,
        keys,
        {
            "a": Death(1, type="sms", error="A", tenant="t"),
            "b": Death(2, type="sms", error="B"),
            "c": Death(3, type="email", error="B"),
        },
    )
    assert await count_dead_letters(link, keys, by="type", most=9) == [("sms", 2), ("email", 1)]
    assert await count_dead_letters(link, keys, by="error", most=1) == [("B", 2)]
    assert await count_dead_letters(link, keys, by="tenant", most=9) == [("t", 1)]


async def test_days_with_letters_are_listed_newest_first(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"a": Death(0), "b": Death(DAY - 1), "c": Death(DAY), "d": Death(900 * DAY + 5)})
    assert await count_dead_letters(link, keys, by="day", most=9) == [("900", 1), ("1", 1), ("0", 2)]
    assert await count_dead_letters(link, keys, by="day", most=2) == [("900", 1), ("1", 1)]


async def test_without_letters_there_are_no_groups(link: Link, keys: Keys) -> None:
    for by in ("type", "day"):
        assert await count_dead_letters(link, keys, by=by, most=9) == []
