"""Every error a person can see, by who has to act.

One root, four families. The exit code and the hint (the next thing to do) live on the class, so the command line needs no
table of its own. What happens to a single file or record is never an exception:
it is an *outcome* and the run goes on. Exit codes are product promises: 2 settings, 3 unreachable, 4 safety stop; whatever
is no error of these families is a defect of Mastomend, and that is 70.
"""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.reasons import Reason


class MastomendError(Exception):
    """The root. `hint` names what to do next, `statements` are lines to be copied for that, each by itself; `exit_code` is the
    process's answer.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", statements: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.statements = tuple(statements)

    @property
    def next(self) -> str:
        """Hint and statements as one text."""
        return "\n".join(line for line in (self.hint, *self.statements) if line)


class ConfigurationError(MastomendError):
    """The operator must act: a setting, a file or an argument is wrong."""

    exit_code = 2


class SourceError(MastomendError):
    """The database, the storage or Redis does not answer or refuses us."""

    exit_code = 3


class DatabaseError(SourceError):
    """PostgreSQL is unreachable, refuses the login, or is not a Mastodon database."""


class StorageError(SourceError):
    """The media storage is unreachable, refuses us, or is full."""


class ObjectError(StorageError):
    """One file or object that cannot be read or written: its record's trouble. The storage as a whole is well.

    `reason` is its word in reports.
    """

    reason = Reason.IN_THE_WAY


class UnreadableError(ObjectError):
    """One file that this process may not read."""

    reason = Reason.UNREADABLE


class UnwritableError(ObjectError):
    """One place in which this process may not write."""

    reason = Reason.UNWRITABLE


class HiddenError(UnreadableError):
    """A bucket does not say whether there is such an object (403): it may be absent."""


class OutputError(MastomendError):
    """Nobody can be told: stdout is closed or full."""

    exit_code = 3


class OutputClosed(OutputError):
    """Whoever read stdout has seen enough (`| head`), and gone: nobody is told."""


class SafetyStop(MastomendError):
    """A safety rule stopped the run; nothing was changed after it."""

    exit_code = 4


class BusyError(SafetyStop):
    """Another changing run is under way."""


class JournalError(MastomendError):
    """Our own record of changes cannot be written: stop before changing anything else."""

    exit_code = 3
