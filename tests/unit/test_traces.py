"""What is stored of an error is what Python itself would print."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from engine.worker import traces


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
        assert traces.trace(error) == "".join(traceback.format_exception(error))


def test_of_a_deep_one_the_last_frames_are_kept() -> None:
    def down(left: int) -> None:
        if left == 0:
            raise ValueError("at the bottom")
        down(left - 1)

    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        down(200)
    told = traces.trace(caught.value)
    assert told.count('File "') == traces.MAX_FRAMES
    assert "raise ValueError" in told
    assert told.endswith("ValueError: at the bottom\n")


def test_an_error_that_was_never_raised_has_no_frames() -> None:
    assert traces.trace(ValueError("x")) == "ValueError: x\n"
