"""Bytes of payloads, and back. Knows JSON and types; knows neither Redis nor jobs."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from engine.errors import InvalidData, PayloadTooLarge

T = TypeVar("T")

DEFAULT_MAX_PAYLOAD = 1024 * 1024
"""Bytes that a job's data may have, unless a queue says otherwise."""

_encoder = msgspec.json.Encoder()
_PLAIN = frozenset((type(None), bool, int, str, bytes))
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape in JSON; the group is there if it is half of a surrogate pair without the other half."""


def encode(field: str, value: Any) -> bytes:
    """`value` as JSON that every reader of the queue understands. Raises InvalidData, naming `field`."""
    try:
        encoded = _encoder.encode(value)
    except RecursionError:
        raise InvalidData(f"{field}: nested too deeply for JSON; flatten it") from None
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidData(f"{field}: {error}; give JSON values or a msgspec Struct") from None
    # msgspec writes NaN and Infinity as null. A user's number must not vanish, and BullMQ's readers know neither.
    if b"null" in encoded and type(value) not in _PLAIN:
        _refuse_non_finite(field, value)
    return encoded


def check_size(field: str, encoded: bytes, limit: int) -> None:
    """Raise PayloadTooLarge if `encoded` has more than `limit` bytes."""
    if len(encoded) > limit:
        raise PayloadTooLarge(
            f"{field}: {len(encoded):,} bytes are over the limit of {limit:,}; store the bulk elsewhere and put its address in the job"
        )


def decode(field: str, encoded: bytes, kind: Any = Any) -> Any:
    """The value of `encoded` as `kind`. Raises InvalidData with the path of what does not fit."""
    try:
        return _decoder(kind).decode(encoded)
    except RecursionError:
        raise InvalidData(f"{field}: nested too deeply for JSON") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = _without_halves(encoded)
        if mended != encoded:
            return decode(field, mended, kind)
        raise InvalidData(f"{field}: {_path(error)}") from None


def convert(field: str, value: Any, kind: type[T]) -> T:
    """A Python value as `kind`. Raises InvalidData with the path of what does not fit."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidData(f"{field}: {_path(error)}") from None


def _without_halves(encoded: bytes) -> bytes:
    """JSON with U+FFFD for each lone half of a surrogate pair: JavaScript cuts text between the halves, and writes both."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], encoded)


@lru_cache(maxsize=512)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _path(error: BaseException) -> str:
    """msgspec's message with the path first: '$.phoneNumbers[0]: Expected `str`, got `int`'."""
    problem, _, path = str(error).rpartition(" - at `")
    return f"{path.rstrip('`')}: {problem}" if problem else str(error)


def _refuse_non_finite(field: str, value: Any) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                raise InvalidData(f"{field}: {item} is not a JSON number; use None or text")
        elif isinstance(item, dict):
            # Most of a payload is plain: what cannot hold a float is not even put on the stack.
            stack += [inner for inner in item.values() if type(inner) not in _PLAIN]
        elif isinstance(item, list | tuple | set | frozenset):
            stack += [inner for inner in item if type(inner) not in _PLAIN]
        elif isinstance(item, msgspec.Struct) or hasattr(item, "__dataclass_fields__"):
            stack.extend(
                getattr(item, name, None)
                for name in getattr(item, "__struct_fields__", None) or item.__dataclass_fields__
            )
