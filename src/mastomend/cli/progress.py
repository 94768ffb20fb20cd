"""Progress on stderr: bars with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mastomend.cli.output import escape, log
from mastomend.commands.progress import Progress as Observer

_EVERY_S = 10.0


class PlainProgress:
    """A line per task every ten seconds: done, rate, time left."""

    def __init__(self) -> None:
        self._task, self._total, self._done = "", 0, 0
        self._started = self._spoken = time.monotonic()

    def start(self, task: str, total: int) -> None:
        self._task, self._total, self._done = task, total, 0
        self._started = time.monotonic()

    def advance(self, n: int) -> None:
        self._done += n
        now = time.monotonic()
        if now - self._spoken >= _EVERY_S:
            self._spoken = now
            rate = self._done / max(now - self._started, 0.001)
            left = (self._total - self._done) / rate if self._total > self._done and rate else 0
            remaining = f", about {left:,.0f} s left" if left else ""
            log.print(f"{self._task}: {self._done:,} done, {rate:,.0f}/s{remaining}")

    def note(self, text: str) -> None:
        log.print(escape(text))


class BarProgress:
    """One bar a task."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._current: TaskID | None = None

    def start(self, task: str, total: int) -> None:
        self._finish()
        self._current = self._bars.add_task(task, total=total or None, rate="")

    def advance(self, n: int) -> None:
        if self._current is not None:
            self._bars.advance(self._current, n)
            task = self._bars.tasks[self._bars.task_ids.index(self._current)]
            if task.total is not None and task.completed > task.total:  # it was an estimate
                self._bars.update(self._current, total=task.completed)
            self._bars.update(self._current, rate=f"{task.speed:,.0f}/s" if task.speed else "")

    def note(self, text: str) -> None:
        self._bars.console.print(escape(text))

    def _finish(self) -> None:
        if self._current is not None:
            task = self._bars.tasks[self._bars.task_ids.index(self._current)]
            self._bars.update(self._current, total=max(task.completed, 1), completed=max(task.completed, 1))
            self._current = None


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Observer]:
    """The observer that fits the terminal."""
    if quiet or not log.is_terminal:
        yield PlainProgress()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=log, transient=True) as bars:
        yield BarProgress(bars)
