"""What is being run now: a bar where stderr is a terminal, else a line for each run. Results stay on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(Protocol):
    def doing(self, what: str) -> None:
        """A step begins, and the one before it is done."""

    def more(self, steps: int) -> None:
        """So many steps are to come beyond those that were known; fewer if negative."""


@contextmanager
def progress(steps: int) -> Iterator[Progress]:
    """Progress over so many steps."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    # Not transient: the bar that stays says how long it took.
    with RichProgress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        shown = _Bar(bar, bar.add_task("", total=steps), steps)
        yield shown
        shown.finish()


class _Lines:
    def doing(self, what: str) -> None:
        print(what, file=sys.stderr, flush=True)

    def more(self, steps: int) -> None:
        """Lines do not say how many are to come."""


class _Bar:
    def __init__(self, bar: RichProgress, task: TaskID, steps: int) -> None:
        self._bar = bar
        self._task = task
        self._steps = steps
        self._begun = 0

    def doing(self, what: str) -> None:
        self._bar.update(self._task, description=what, completed=self._begun)
        self._begun += 1

    def more(self, steps: int) -> None:
        self._steps += steps
        self._bar.update(self._task, total=self._steps)

    def finish(self) -> None:
        self._bar.update(self._task, description="done", completed=self._begun, total=self._begun)
