"""Progress on stderr: on a terminal one line for what is under way, with rate and time left; elsewhere a line now and then.

The line is gone before a result is printed: a display that outlives its step draws over what people came to read. What
takes less than a second is not shown at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn
from rich.text import Text

from mastomend.cli.log_file import write_log
from mastomend.cli.output import escape, log
from mastomend.progress import Progress as Observer

_EVERY_S = 10.0
_WORTH_SHOWING_S = 1.0


class Display(Observer, Protocol):
    """An observer whose display can be put away while something is printed."""

    def put_away(self) -> None:
        """Nothing of it is on the screen; the next step shows it again."""
        ...


def _left_s(done: int, total: int, took_s: float, least_s: float) -> float:
    """Seconds that are left, going on as fast as so far; never fewer than are known of. 0 if that cannot be told."""
    if not done or done >= total:
        return 0.0
    return max((total - done) * took_s / done, least_s)


class PlainProgress:
    """A line per task every ten seconds: done, rate, time left."""

    def __init__(self, *, every_step: bool = False) -> None:
        self._every_step = every_step
        self._task, self._status, self._total, self._done, self._left_s = "", "", 0, 0, 0.0
        self._started = self._spoken = time.monotonic()

    def start(self, task: str, total: int) -> None:
        self._task, self._status, self._total, self._done, self._left_s = task, "", total, 0, 0.0
        self._started = time.monotonic()
        write_log(task)
        if self._every_step:
            log.print(f"{escape(task)} …")

    def advance(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._spoken >= _EVERY_S:
            self._spoken = now
            rate = self._done / max(now - self._started, 0.001)
            left = _left_s(self._done, self._total, now - self._started, self._left_s)
            remaining = f", about {left:,.0f} s left" if left else ""
            so_far = f"; {escape(self._status)}" if self._status else ""
            log.print(f"{escape(self._task)}: {self._done:,} done, {rate:,.0f}/s{remaining}{so_far}")

    def status(self, text: str, left_s: float = 0.0) -> None:
        self._status, self._left_s = text, left_s

    def note(self, text: str) -> None:
        write_log(text)
        log.print(escape(text))

    def put_away(self) -> None:
        pass


class _Bars(Progress):
    """rich's, with a line below it for what came of the task so far."""

    status = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.status:
            yield Text(self.status, no_wrap=True, overflow="ellipsis", style="dim")


class _Done(MofNCompleteColumn):
    """How much of it; of a task that has no parts nothing is said."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.completed or task.total else Text("")


class BarProgress:
    """One bar for the current task, from its first second on, whether anything of it is done by then or not."""

    def __init__(self) -> None:
        self._bars: _Bars | None = None
        self._task: TaskID | None = None
        self._words, self._status, self._total, self._done, self._began, self._left_s = "", "", 0, 0, 0.0, 0.0
        self._lock = threading.RLock()
        self._waits: threading.Timer | None = None
        self._number = 0

    def start(self, task: str, total: int) -> None:
        write_log(task)
        with self._lock:
            self._forget()
            self._words, self._status, self._total, self._done, self._left_s = task, "", total, 0, 0.0
            self._began = time.monotonic()
            self._number += 1
            self._waits = threading.Timer(_WORTH_SHOWING_S, self._show, [self._number])
            self._waits.daemon = True
            self._waits.start()

    def advance(self, n: int) -> None:
        with self._lock:
            self._done += n
            if self._task is not None:
                self._update()

    def _forget(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
        if self._bars is not None and self._task is not None:
            self._bars.remove_task(self._task)
        self._waits = self._task = None

    def _update(self) -> None:
        assert self._bars is not None and self._task is not None
        total = max(self._total, self._done) if self._total else None  # it may have been an estimate
        took = time.monotonic() - self._began
        left = _left_s(self._done, self._total, took, self._left_s)
        said = f"{timedelta(seconds=round(left))}" if left else ""
        rate = f"{self._done / max(took, 0.001):,.0f}/s"
        self._bars.update(self._task, completed=self._done, total=total, rate=rate, left=said)

    def _show(self, number: int) -> None:
        """The task of that number, if it still goes on."""
        with self._lock:
            if self._waits is None or number != self._number:
                return
            if self._bars is None:
                columns = (
                    TextColumn("{task.description}", markup=False),
                    BarColumn(bar_width=24),
                    _Done(),
                    TextColumn("{task.fields[rate]}"),
                    TextColumn("[cyan]{task.fields[left]}[/]"),
                )
                self._bars = _Bars(*columns, console=log, transient=True)
                self._bars.start()
            self._bars.status = self._status
            self._task = self._bars.add_task(self._words, total=self._total or None, rate="", left="")
            if self._done:
                self._update()

    def status(self, text: str, left_s: float = 0.0) -> None:
        with self._lock:
            self._status, self._left_s = text, left_s
            if self._bars is not None and self._task is not None:
                self._bars.status = text

    def note(self, text: str) -> None:
        write_log(text)
        log.print(escape(text))

    def put_away(self) -> None:
        with self._lock:
            self._forget()
            if self._bars is not None:
                self._bars.stop()
            self._bars = None


class Unwatched:
    """Nothing is shown; the log file hears what a person would have been told."""

    def start(self, task: str, total: int) -> None:
        write_log(task)

    def advance(self, n: int) -> None:
        pass

    def status(self, text: str, left_s: float = 0.0) -> None:
        pass

    def note(self, text: str) -> None:
        write_log(text)

    def put_away(self) -> None:
        pass


@contextmanager
def progress(*, quiet: bool = False, verbose: bool = False) -> Iterator[Display]:
    """The observer that fits the terminal; nothing of it is left on the screen behind the block."""
    display: Display
    if quiet:
        display = Unwatched()
    elif log.is_terminal and not verbose:
        display = BarProgress()
    else:
        display = PlainProgress(every_step=verbose)
    try:
        yield display
    finally:
        display.put_away()
