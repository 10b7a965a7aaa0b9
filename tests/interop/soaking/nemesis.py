"""What a soak does against its workers and its queue: one blow after the other, dealt from a shuffled deck.

BullMQ 5 resumes by renaming `paused` onto `wait`, and with that deletes the jobs in `wait` (wire specification, 3.5).
BullMQ 6 is what puts jobs there while a queue is paused: its pause leaves them there, its producers add there, its
workers move delayed, retried and stalled jobs and parents there. No other program can step in between. So BullMQ 5
resumes only what BullMQ 6 did not pause, and with BullMQ 6 at rest: no worker of it and no add, from before the pause
until after the resume. All else may happen at any time. test_soak.py shows the losses, with BullMQ alone.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

from engine.connection import Link
from engine.connection.embedded import EmbeddedServer
from engine.model.keys import Keys
from tests.interop.soaking.hands import Hand
from tests.interop.soaking.pace import Pace
from tests.interop.soaking.sides import QUEUE, SIDES, Side
from tests.support.running import until

PATIENCE = 60.0
"""Seconds that a worker may take to begin its first job, on a machine that does other things too."""

DECK = 22

Blow = Callable[[], Awaitable[None]]


class Nemesis:
    """Deals blows. `adding` are locks: who holds one keeps that side from adding."""

    def __init__(
        self,
        sides: Mapping[str, Side],
        hands: Mapping[str, Hand],
        adding: Mapping[str, asyncio.Lock],
        pace: Pace,
        link: Link,
        chance: random.Random,
    ) -> None:
        self._sides, self._hands, self._adding, self._pace, self._chance = sides, hands, adding, pace, chance
        self._link = link
        self._cards: list[Blow] = []
        self._asleep: dict[str, asyncio.Task[None]] = {}
        self.pausers: list[str] = []
        """Who paused, the first first: the stream does not tell."""
        self.resumers: list[str] = []
        self.stops = self.thefts = self.restarts = 0

    @property
    def pauses(self) -> Counter[tuple[str, str]]:
        """Who paused and who resumed, and how often."""
        return Counter(zip(self.pausers, self.resumers, strict=True))

    async def deal(self) -> None:
        """The next blow. Every kind has come when `DECK` have been dealt."""
        self._cards = self._cards or self._deck()
        await self._cards.pop()()

    def _deck(self) -> list[Blow]:
        cards: list[Blow] = []
        for side in SIDES:
            cards += [self._blow(self.kill, side)] * 2 + [self._blow(self.stop, side), self._blow(self.freeze, side)]
            cards += [self._blow(self.pause, side, resumer) for resumer in ("v6", "us")]
        cards += [self._blow(self.pause_beside_resting_v6, side) for side in ("v5", "us")]
        cards += [self.steal] * 2
        assert len(cards) == DECK
        self._chance.shuffle(cards)
        return cards

    async def kill(self, side: str) -> None:
        hand = await self._busy(side)
        await hand.kill()
        hand.start()

    async def freeze(self, side: str) -> None:
        """It sleeps on through what comes next."""
        await self.thaw(side)
        hand = await self._busy(side)
        self._asleep[side] = asyncio.create_task(hand.freeze())

    async def thaw(self, *sides: str) -> None:
        """Wait until they are awake."""
        for side in sides:
            if (sleep := self._asleep.pop(side, None)) is not None:
                await sleep

    async def _busy(self, side: str) -> Hand:
        """The worker of that side, once it has begun a job, if there is one, and a while after."""
        hand = self._hands[side]
        self._pace.release()
        self._pace.hungry = True
        await until(lambda: hand.has_worked or self._pace.is_over, f"the worker of {side} works", timeout=PATIENCE)
        self._pace.hungry = False
        await self._while(0.5)
        return hand

    async def stop(self, side: str) -> None:
        self._pace.release()
        await self._hands[side].stop()
        self.stops += 1
        self._hands[side].start()

    async def steal(self) -> None:
        """Delete the locks of running jobs, as a failover may: they are taken for dead, and end under two workers."""
        await self._busy(self._chance.choice(SIDES))
        keys = Keys(QUEUE)
        locks = [keys.lock(id.decode()) for id in await self._link.call("LRANGE", keys.active, 0, -1)]
        self.thefts += await self._link.call("DEL", *locks) if locks else 0

    async def pause(self, pauser: str, resumer: str, adders: Collection[str] = SIDES) -> None:
        """A portion is added in between, and in every second pause a worker is killed."""
        await self._sides[pauser].pause()
        self.pausers.append(pauser)
        self._pace.release()
        await until(lambda: self._pace.has_kept_up(adders), f"{adders} have added", timeout=PATIENCE)
        if self._chance.random() < 0.5:
            hand = self._chance.choice([hand for hand in self._hands.values() if hand.is_alive])
            await hand.kill()
            hand.start()
        await self._while(0.3)
        await self._sides[resumer].resume()
        self.resumers.append(resumer)

    async def pause_beside_resting_v6(self, pauser: str) -> None:
        """BullMQ 5 resumes."""
        async with self._adding["v6"]:
            await self._hands["v6"].stop()
            await self.pause(pauser, "v5", ("v5", "us"))
        self._hands["v6"].start()

    async def restart(self, server: EmbeddedServer) -> None:
        """The server is killed and comes back with what its append-only file holds."""
        await asyncio.to_thread(server.kill)
        await self._while(0.5)
        await asyncio.to_thread(server.start)
        self.restarts += 1

    def _blow(self, what: Callable[..., Awaitable[None]], *args: str) -> Blow:
        return lambda: what(*args)

    async def _while(self, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(0, most))
