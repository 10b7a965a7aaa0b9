"""Testing kit: a queue on a real server for your tests, a clock that can be moved, and assertions on what was enqueued.

    async with TestQueue("sms-queue") as kit:
        await invite(kit.queue, "+4912345")                      # the code under test
        await assert_enqueued(kit.queue, "sms", data={"phoneNumbers": ["+4912345"]})
        kit.clock.advance(minutes=5)
        run = await kit.run_until_drained(send_sms)

The package installs the pytest plugin `corral`, with the fixtures `corral_server` and `corral_queue`.
"""

from engine.testing.clock import Clock
from engine.testing.enqueued import assert_enqueued, assert_not_enqueued, enqueued
from engine.testing.kit import Failure, Run, TestQueue

__all__ = ["Clock", "Failure", "Run", "TestQueue", "assert_enqueued", "assert_not_enqueued", "enqueued"]
