"""Foreign keys: which of a queue's keys holds what another program put there, for an error that can be acted on.

The server's own error names no key. Asked only once something has failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

from engine.connection import Argument, Link, Reply
from engine.errors import LinkError, ServerError, WrongType

_SAID = ("not a number", "not an integer", "not of its type")
"""By scripts, of keys that they looked at."""
Expected = Iterable[tuple[str, str]]
"""Keys, each with the type that it should have: a word of TYPE, or "counter"."""


def is_wrong_type(error: Exception) -> TypeGuard[ServerError]:
    """Whether the server says that a key is not what it was taken for."""
    return isinstance(error, ServerError) and (error.code == "WRONGTYPE" or any(said in str(error) for said in _SAID))


async def name_wrong_key(link: Link, error: ServerError, expected: Expected) -> ServerError:
    """An error that names the key; the one that was given if none of these is foreign by now."""
    asked = list(expected)
    try:
        types = await link.call_many([("TYPE", key) for key, _ in asked])
        for (key, wanted), found in zip(asked, types, strict=True):
            problem = await _problem(link, key, wanted, found)
            if problem is not None:
                return problem
    except LinkError:
        pass
    return error


async def call_typed(link: Link, wanted: str, command: str, key: str, *rest: Argument) -> Reply:
    """The reply to one command about one key. Raises WrongType where the key is of another type than `wanted`."""
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
