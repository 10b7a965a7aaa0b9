"""Payloads as JSON: encode, decode and check data, results and progress. Knows types; knows neither Redis nor jobs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from engine.errors import InvalidData, InvalidInput, PayloadTooLarge

T = TypeVar("T")

DEFAULT_MAX_PAYLOAD = 1024 * 1024
"""Default limit of a job's data, in bytes."""


def _other(value: Any) -> Any:
    """msgspec's hook for values that it cannot encode: pydantic models."""
    if is_pydantic(type(value)):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def _as_other(kind: Any, value: Any) -> Any:
    """msgspec's hook for types that it cannot decode: pydantic models."""
    if kind is object:
        return value
    if not is_pydantic(kind):
        raise TypeError(f"Decoding objects of type {kind!r} is unsupported")
    try:
        # From JSON, not from Python's values: a strict model takes a date as text only there.
        return kind.model_validate_json(_encoder.encode(value))
    except ValueError as error:
        problems: list[dict[str, Any]] = getattr(error, "errors", list)()
        problem_lines = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}".removeprefix(": ") for found in problems)
        raise ValueError("; ".join(problem_lines) or str(error)) from None


def is_pydantic(kind: Any) -> bool:
    """Whether a type is a pydantic model. Does not import pydantic, which is optional."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate_json")


_encoder = msgspec.json.Encoder(enc_hook=_other)
_PLAIN = frozenset((type(None), bool, int, str, bytes))
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape in JSON; group 1 is half of a surrogate pair without its other half."""


def encode(field: str, value: Any) -> bytes:
    """`value` as JSON that BullMQ reads too. Raises InvalidData, naming `field`."""
    try:
        encoded = _encoder.encode(value)
    except RecursionError:
        raise InvalidData(f"{field}: nested too deeply for JSON; flatten it") from None
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidData(
            f"{field}: {error}; give JSON values, a msgspec Struct, a dataclass or a pydantic model"
        ) from None
    # msgspec writes NaN and Infinity as null. A user's number must not vanish, and BullMQ's readers know neither.
    if b"null" in encoded and type(value) not in _PLAIN:
        _refuse_non_finite(field, value)
    return encoded


def check_size(field: str, encoded: bytes, limit: int) -> None:
    """Raise PayloadTooLarge if `encoded` has more than `limit` bytes."""
    if len(encoded) > limit:
        raise PayloadTooLarge(
            f"{field}: {len(encoded):,} bytes are over the limit of {limit:,}; store the data elsewhere and put its URL or key into the job"
        )


def decode(field: str, encoded: bytes, kind: Any = Any) -> Any:
    """Decode JSON as `kind`. Raises InvalidData with the path of the wrong value."""
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
    """Convert plain Python values to `kind`. Raises InvalidData with the path of the wrong value."""
    try:
        return msgspec.convert(value, kind, dec_hook=_as_other)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidData(f"{field}: {_path(error)}") from None


def check_type(what: str, kind: Any, *, decodes: bool = True) -> None:
    """Raise InvalidInput, naming `what`, for a type that JSON cannot be decoded as.

    decodes: whether JSON must be decoded as it too; else a union that JSON cannot tell apart is accepted.
    """
    try:
        info = inspect.type_info(kind)
        if decodes:
            _decoder(kind)
    except (TypeError, NameError) as error:
        if not decodes:
            return
        raise InvalidInput(f"{what}: {_word(kind)} cannot be decoded: {_one_line(error)}; {_TYPES}") from None
    for other in _others(info, set()):
        if other is not object and not is_pydantic(other):
            raise InvalidInput(f"{what}: {_word(other)} has no form in JSON; {_TYPES}")


_TYPES = "use JSON values, a msgspec Struct, a dataclass, a TypedDict or a pydantic model"


def _others(info: Any, seen: set[int]) -> Iterator[Any]:
    """The types inside a type that msgspec does not know itself."""
    if id(info) in seen:  # types may hold themselves
        return
    seen.add(id(info))
    if isinstance(info, inspect.CustomType):
        yield info.cls
    elif isinstance(info, tuple | list):
        for inner in info:
            yield from _others(inner, seen)
    elif isinstance(info, inspect.Type | inspect.Field):
        for name in info.__struct_fields__:
            yield from _others(getattr(info, name), seen)


def _word(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _without_halves(encoded: bytes) -> bytes:
    """JSON with U+FFFD for each lone half of a surrogate pair: JavaScript cuts text between the halves, and writes both."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], encoded)


@lru_cache(maxsize=512)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_as_other)


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
        elif is_pydantic(type(item)):
            stack.append(item.model_dump())
        elif isinstance(item, msgspec.Struct) or hasattr(item, "__dataclass_fields__"):
            stack.extend(
                getattr(item, name, None)
                for name in getattr(item, "__struct_fields__", None) or item.__dataclass_fields__
            )
