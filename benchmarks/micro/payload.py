"""The payload of every benchmark's jobs."""

from __future__ import annotations

import msgspec


def data(number: int) -> bytes:
    """A payload of some 100 bytes, the one that all scenarios use."""
    return msgspec.json.encode({"n": number, "text": "x" * 80})
