"""Errors that name the key: which of a queue's keys has a foreign type, because another program wrote it.

The server's own WRONGTYPE error names no key, so the types are asked for after a call has failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

from engine.connection import Argument, Link, Reply
from engine.errors import LinkError, ServerError, WrongType

_MESSAGES = ("not a number", "not an integer", "not of its type")
"""Parts of the errors that scripts raise about keys."""
Expected = Iterable[tuple[str, str]]
"""Keys, each with the type that it should have: a word of TYPE, or "counter"."""


def is_wrong_type(error: Exception) -> TypeGuard[ServerError]:
    """Whether an error is about a key of a foreign type or a counter that is not a number."""
    return isinstance(error, ServerError) and (
        error.code == "WRONGTYPE" or any(part in str(error) for part in _MESSAGES)
    )


async def name_wrong_key(link: Link, error: ServerError, expected: Expected) -> ServerError:
    """WrongType that names the foreign key; `error` itself if each key has its expected type by now."""
    keys = list(expected)
    try:
        types = await link.call_many([("TYPE", key) for key, _ in keys])
        for (key, wanted), found in zip(keys, types, strict=True):
            problem = await _problem(link, key, wanted, found)
            if problem is not None:
                return problem
    except LinkError:
        pass
    return error


async def call_typed(link: Link, wanted: str, command: str, key: str, *rest: Argument) -> Reply:
    """Call one command on one key. Raises WrongType if the key has another type than `wanted`."""
    try:
        return await link.call(command, key, *rest)
    except ServerError as error:
        if is_wrong_type(error):
            raise await name_wrong_key(link, error, [(key, wanted)]) from None
        raise


async def _problem(link: Link, key: str, wanted: str, found: Reply) -> WrongType | None:
    if not isinstance(found, bytes) or found == b"none":
        return None
    kind = "string" if wanted == "counter" else wanted
    if found.decode() != kind:
        return WrongType(key, found.decode(), wanted)
    if wanted == "counter" and not _is_number(await link.call("GET", key)):
        return WrongType(key, "text that is no number", wanted)
    return None


def _is_number(text: Reply) -> bool:
    return text is None or text.strip().lstrip(b"-").isdigit()
