"""Stored tracebacks equal what Python prints, without the server's folders."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.model import error_text

ROOT = Path(__file__).parents[2]


def _plain() -> None:
    raise ValueError("no such mailbox")


def _chained() -> None:
    try:
        _plain()
    except ValueError as error:
        raise KeyError("a") from error


def _with_notes() -> None:
    error = ValueError("two\nlines")
    error.add_note("for tenant 7")
    raise error


def _grouped() -> None:
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


def _unreadable() -> None:
    compile("x = (", "a.py", "exec")


@pytest.mark.parametrize("fails", [_plain, _chained, _with_notes, _grouped, _unreadable])
def test_a_trace_reads_as_python_prints_it(fails: Callable[[], None]) -> None:
    for _ in range(2):  # the second time the frames are known
        with pytest.raises(Exception) as caught:  # noqa: PT011 - any
            fails()
        error = caught.value
        assert error_text.trace(error) == "".join(traceback.format_exception(error)).replace(f"{ROOT}/", "")


def test_of_a_deep_one_the_last_frames_are_kept() -> None:
    def down(left: int) -> None:
        if left == 0:
            raise ValueError("at the bottom")
        down(left - 1)

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        down(200)
    told = error_text.trace(caught.value)
    assert told.count('File "') == error_text.MAX_FRAMES
    assert "raise ValueError" in told
    assert told.endswith("ValueError: at the bottom\n")


def test_an_error_that_was_never_raised_has_no_frames() -> None:
    assert error_text.trace(ValueError("x")) == "ValueError: x\n"


def _in(path: str) -> Any:
    """A function of the file of that path that fails."""
    made: dict[str, Any] = {}
    exec(compile("def fail():\n    raise ValueError('no such mailbox')\n", path, "exec"), made)
    return made["fail"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/srv/shop/mail/send.py", "mail/send.py"),
        ("/srv/shop/vendored/lib/a.py", "lib/a.py"),
        ("/srv/shopping/mail.py", "mail.py"),
        ("/home/ann/elsewhere.py", "elsewhere.py"),
        ("relative/a.py", "relative/a.py"),
        ("<string>", "<string>"),
    ],
)
@pytest.mark.parametrize("chained", [False, True])
def test_a_file_is_named_by_its_place_below_sys_path(
    path: str, shown: str, chained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["/", "/srv/shop", "/srv/shop/vendored", *sys.path])
    error_text._imported_as.cache_clear()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its trace is looked at
        _in(path)()
    told = error_text.trace(ExceptionGroup("several", [caught.value]) if chained else caught.value)
    assert f'File "{shown}", line 2, in fail' in told
    assert 'File "/' not in told


def test_files_of_packages_have_no_folders() -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        asyncio.run(_decode())
    told = error_text.trace(caught.value)
    assert 'File "asyncio/runners.py"' in told
    assert f'File "{Path(__file__).relative_to(ROOT)}"' in told


async def _decode() -> None:
    msgspec.json.decode(b"{")
