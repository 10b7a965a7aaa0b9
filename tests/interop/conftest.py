"""Fixtures of the tests with the real BullMQ. Without Node each test is skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.interop.side import VERSIONS, NodeSide, need
from tests.interop.standing import StandingNodeSide


@pytest.fixture(params=VERSIONS)
async def node(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[NodeSide]:
    """Each version of BullMQ, in a Node process that may have served other tests; `@pytest.mark.parametrize("node", [...], indirect=True)` chooses some."""
    need(request.param)
    async with StandingNodeSide(request.param, redis_url) as side:
        yield side
