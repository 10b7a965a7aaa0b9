"""Error messages and stack traces as they are stored in a job: cut to size, without the server's folders, valid UTF-8.

Never raises.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from functools import lru_cache
from types import CodeType, TracebackType

import msgspec

MAX_MESSAGE = 4 * 1024
MAX_FRAMES = 30
MAX_TEXT = 16 * 1024
DEFAULT_KEPT = 50
"""Stack traces kept of a job without `stack_trace_limit`; BullMQ keeps all, and the hash grows with each attempt."""


class ErrorElsewhere(Exception):
    """An error of a child process: its message, its class name and its stack trace. `final`: it is not retried."""

    def __init__(self, message: str, error_name: str, trace: str, final: bool = False) -> None:
        super().__init__(message)
        self.error_name = error_name
        self.trace = trace
        self.final = final


def error_name(error: BaseException) -> str:
    return error.error_name if isinstance(error, ErrorElsewhere) else type(error).__name__


def message(error: BaseException) -> str:
    """The error's message, at most 4 KiB; its class name if the message is empty."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return cut(text, MAX_MESSAGE) or error_name(error)


def trace(error: BaseException) -> str:
    """The stack trace, the last 30 frames of each error in the chain, at most 16 KiB."""
    if isinstance(error, ErrorElsewhere):
        return cut(error.trace, MAX_TEXT)
    try:
        lines = _lines(error)
    except Exception:
        lines = [f"{type(error).__name__}: its stack trace cannot be shown\n"]
    return cut("".join(cut(line, MAX_MESSAGE) for line in lines), MAX_TEXT)


def printable(text: str) -> str:
    """The text with its control characters spelled out, apart from line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def _lines(error: BaseException) -> list[str]:
    if error.__cause__ or error.__context__ or isinstance(error, BaseExceptionGroup):
        lines = traceback.format_exception(type(error), error, error.__traceback__, limit=-MAX_FRAMES)
        return [_without_folders(line) for line in lines]
    frames, entry = [], error.__traceback__
    while entry is not None:
        frames.append(entry)
        entry = entry.tb_next
    lines = ["Traceback (most recent call last):\n"] if frames else []
    lines += map(_shown, frames[-MAX_FRAMES:])
    return lines + [_without_folders(line) for line in traceback.format_exception_only(error)]


def _shown(entry: TracebackType) -> str:
    """A frame as `traceback` shows it. Jobs that fail fail in the same few places, and showing one looks at its file."""
    code = entry.tb_frame.f_code
    # Code of two files is equal where it reads the same and stands in the same line.
    place = code.co_filename, code, entry.tb_lasti
    text = _places.get(place)
    if text is None:
        if len(_places) >= _MOST_PLACES:
            _places.clear()
        text = _places[place] = _without_folders(cut("".join(traceback.format_tb(entry, limit=1)), MAX_MESSAGE))
    return text


_MOST_PLACES = 4096
_places: dict[tuple[str, CodeType, int], str] = {}


def _without_folders(text: str) -> str:
    """A trace that names each file as it is imported, "shop/mail.py": readers of a job need not know the server's folders."""
    return _FILE.sub(lambda found: f'{found[1]}"{_imported_as(found[2])}"', text)


_FILE = re.compile(r'^([ |+]*File )"([^"\n]{1,1000})"', re.MULTILINE)


@lru_cache(maxsize=1024)
def _imported_as(path: str) -> str:
    """The part of a file's path below the longest entry of `sys.path` or the working folder; elsewhere its name alone."""
    if not os.path.isabs(path):
        return path
    roots = [os.path.join(os.path.abspath(root), "") for root in ("", *sys.path)]
    root = max((root for root in roots if path.startswith(root)), key=len, default="")
    return path[len(root) :] if len(root) > 1 else os.path.basename(path)


def appended(stored: bytes, text: str, limit: int | None) -> bytes:
    """The stored JSON array of stack traces with one more at its end, and the newest `limit` of them."""
    kept = DEFAULT_KEPT if limit is None else limit
    if kept < 1:
        return b"[]"
    try:
        before = _stored.decode(stored) if stored else []
    except ValueError:
        before = []
    return msgspec.json.encode([*before[-kept:], text][-kept:])


def cut(text: str, size: int) -> str:
    """At most `size` bytes of UTF-8, the middle left out; lone surrogates are replaced."""
    # Cut before encoding: the text may be huge, and a character has at least one byte.
    whole = len(text) <= size
    encoded = (text if whole else text[:size] + text[-size:]).encode(errors="replace")
    if whole and len(encoded) <= size:
        return encoded.decode()
    gap = b"\n[...]\n"
    half = (size - len(gap)) // 2
    return (encoded[:half] + gap + encoded[-half:]).decode(errors="ignore")


_stored = msgspec.json.Decoder(list[str])
