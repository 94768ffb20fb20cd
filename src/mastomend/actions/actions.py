"""The changes every command shares. `str(action)` reads as a sentence; `inverse` takes it back, or says why nothing can.

Every file action names the storage it works in, its *place*: the instance's own, unless it says otherwise. Bytes are not
journaled, only their size and digest: the journal must stay small, and a run that dies before the file was written simply
makes it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any, NewType, assert_never

from mastomend.actions.quarantine import quarantine_key
from mastomend.mastodon.jobs import CACHE_BUSTER, Job, cache_buster_job
from mastomend.mastodon.keys import Key
from mastomend.vocabulary import Body, Content, Serving

#: A storage by the name the journal knows it by.
Place = NewType("Place", str)
#: The instance's own media storage.
MEDIA = Place("media")


def _in(place: Place) -> str:
    return "" if place == MEDIA else f" in {place}"


@dataclass(frozen=True, slots=True)
class PutFile:
    """Store a whole file under a key. `data` is None when the action comes back from the journal."""

    key: Key
    content_type: str
    size: int
    digest: str
    data: Content | None = field(default=None, repr=False, compare=False)
    place: Place = MEDIA

    @staticmethod
    def of(key: Key, body: Body, content_type: str, place: Place = MEDIA) -> PutFile:
        """The action that stores that body."""
        return PutFile(key, content_type, body.size, body.digest, body.content, place)

    def __str__(self) -> str:
        return f"put {self.size:,} bytes ({self.content_type}) at {self.key}{_in(self.place)}"


@dataclass(frozen=True, slots=True)
class CopyFile:
    """Copy a file that is already in the storage to a key, inside the storage."""

    key: Key
    source: Key
    size: int
    digest: str
    place: Place = MEDIA

    def __str__(self) -> str:
        return f"copy {self.size:,} bytes from {self.source} to {self.key}{_in(self.place)}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy what records expect from one storage to another: so many files, and bytes, that the target does not have.

    There may be millions, so the journal has no line a file: the target's own listing tells what is done, and a copy that
    was cut off is gone on with by comparing again.
    """

    source: Place
    target: Place
    files: int
    size: int

    def __str__(self) -> str:
        return f"copy {self.files:,} files ({self.size:,} bytes) from {self.source} to {self.target}"


@dataclass(frozen=True, slots=True)
class PreserveFile:
    """Copy a file that is about to be overwritten into the quarantine."""

    key: Key
    quarantine: Key
    place: Place = MEDIA

    def __str__(self) -> str:
        return f"keep a copy of {self.key} in the quarantine{_in(self.place)}"


@dataclass(frozen=True, slots=True)
class QuarantineFile:
    """Move a file into the quarantine. `even_if_expected` is for undo; a local record's file is never moved.

    `size` is what it had when it was seen; None accepts any. `proven`: in a storage that is the instance's no more, though a
    record expects it, because the instance's own has it under that key, with that size.
    """

    key: Key
    quarantine: Key
    even_if_expected: bool = False
    place: Place = MEDIA
    size: int | None = None
    proven: Key | None = None

    def __str__(self) -> str:
        return f"move {self.key} to the quarantine{_in(self.place)}"


@dataclass(frozen=True, slots=True)
class RestoreFile:
    """Move a file from the quarantine back to its key, where nothing may be by then. `size` is what it has, where known."""

    key: Key
    quarantine: Key
    place: Place = MEDIA
    size: int | None = None

    def __str__(self) -> str:
        return f"bring {self.key} back from the quarantine{_in(self.place)}"


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a file for good: one that no row expects, or one in the quarantine. `size` is what it had when it was seen.

    `even_if_missed`: though a row expects what waits there, because somebody has taken that back.
    """

    key: Key
    size: int
    place: Place = MEDIA
    even_if_missed: bool = False

    def __str__(self) -> str:
        return f"delete {self.key} ({self.size:,} bytes) for good{_in(self.place)}"


@dataclass(frozen=True, slots=True)
class SetServing:
    """Change how a file is handed out (permission, type, cache headers), if it still is handed out as read."""

    key: Key
    before: Serving
    after: Serving
    place: Place = MEDIA

    def __str__(self) -> str:
        return f"serve {self.key}{_in(self.place)}: {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class SetColumns:
    """Change columns of one row if they still are as read. Values are PostgreSQL's text form; None is NULL."""

    table: str
    id: int
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]

    def __str__(self) -> str:
        changes = ", ".join(
            f"{c} {_short(self.before[c])} → {_short(v)}" for c, v in self.after.items() if self.before[c] != v
        )
        return f"set in {self.table} {self.id}: {changes}"


@dataclass(frozen=True, slots=True)
class EnqueueJob:
    """Hand a job to Mastodon's Sidekiq, at a moment (seconds) or, if that is 0, at once."""

    job: Job
    at: float = 0.0

    def __str__(self) -> str:
        return f"hand {self.job.worker}({self.job.argument}) to Sidekiq"


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Take a job back that no worker has begun."""

    job: Job

    def __str__(self) -> str:
        return f"take {self.job.worker}({self.job.argument}) back from Sidekiq"


@dataclass(frozen=True, slots=True)
class ForgetCached:
    """Delete what Mastodon has cached about a record; it caches it anew when it needs it."""

    keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"forget the cached {', '.join(self.keys)}"


@dataclass(frozen=True, slots=True)
class DeletePost:
    """Delete a post from elsewhere with all that goes with it; first it is archived, in that file of the state directory.

    `cut_off`: only if it is older than that id, and nobody here has touched it by then.
    """

    id: int
    archive: str
    cut_off: int

    def __str__(self) -> str:
        return f"delete the post {self.id} (archived in {self.archive})"


@dataclass(frozen=True, slots=True)
class RestorePost:
    """Bring a post back from the archive, with its id and all that went with it."""

    id: int
    archive: str
    cut_off: int

    def __str__(self) -> str:
        return f"bring the post {self.id} back from {self.archive}"


Action = (
    PutFile
    | CopyFile
    | Transfer
    | PreserveFile
    | QuarantineFile
    | RestoreFile
    | Delete
    | SetServing
    | SetColumns
    | EnqueueJob
    | CancelJob
    | ForgetCached
    | DeletePost
    | RestorePost
)
#: The actions that put bytes under a record's key.
Writing = PutFile | CopyFile


@dataclass(frozen=True, slots=True)
class Irreversible:
    """An action that nothing takes back, and why."""

    action: Action
    why: str

    def __str__(self) -> str:
        return f"{self.action}: {self.why}"


def _short(value: str | None) -> str:
    return "NULL" if value is None else value if len(value) <= 40 else f"{value[:39]}…"


def inverse(action: Action, run: str, key_prefix: str = "") -> Action | Irreversible:  # noqa: C901 - one arm an action
    """The action that takes another back; files it removes go to the quarantine of `run`."""
    match action:
        case PutFile(key=key, place=place) | CopyFile(key=key, place=place):
            return QuarantineFile(key, quarantine_key(run, key, key_prefix), True, place)
        case PreserveFile() | QuarantineFile():
            return RestoreFile(action.key, action.quarantine, action.place)
        case RestoreFile(key=key, quarantine=quarantine, place=place, size=size):
            return QuarantineFile(key, quarantine, True, place, size)
        case Delete():
            return Irreversible(action, "what was deleted is gone")
        case Transfer(target=target):
            return Irreversible(action, f"the copy stays in {target}; nothing was changed where it came from")
        case SetServing(key=key, before=before, after=after, place=place):
            return SetServing(key, after, before, place)
        case EnqueueJob(job=job) if job.worker == CACHE_BUSTER:
            return EnqueueJob(cache_buster_job(str(job.argument), run))  # the CDN must forget the new file, too
        case EnqueueJob(job=job):
            return CancelJob(job)
        case CancelJob(job=job):
            return EnqueueJob(job)
        case ForgetCached():
            return action
        case DeletePost(id=post, archive=archive, cut_off=cut_off):
            return RestorePost(post, archive, cut_off)
        case RestorePost(id=post, archive=archive, cut_off=cut_off):
            return DeletePost(post, f"runs/{run}/{archive.rpartition('/')[2]}", cut_off)
        case SetColumns(table=table, id=record_id, before=before, after=after):
            return SetColumns(table, record_id, dict(after), {name: before[name] for name in after})
        case _:
            assert_never(action)


_BY_NAME: Mapping[str, type[Action]] = {
    "put": PutFile,
    "copy": CopyFile,
    "transfer": Transfer,
    "preserve": PreserveFile,
    "quarantine": QuarantineFile,
    "restore": RestoreFile,
    "delete": Delete,
    "serve": SetServing,
    "set": SetColumns,
    "enqueue": EnqueueJob,
    "cancel": CancelJob,
    "forget": ForgetCached,
    "delete_post": DeletePost,
    "restore_post": RestorePost,
}
_NAMES = {action: name for name, action in _BY_NAME.items()}
#: What `to_json` calls the actions, and those of them that nothing takes back.
ACTION_NAMES = frozenset(_BY_NAME)
IRREVERSIBLE = ("delete", "transfer")


def to_json(action: Action) -> dict[str, Any]:
    """The journal's form: the action's name and its fields, without the bytes and without what is usual."""
    values = {f.name: getattr(action, f.name) for f in fields(action) if f.name != "data"}
    usual = {f.name: f.default for f in fields(action) if f.default is not MISSING}
    told = {name: _plain(value) for name, value in values.items() if name not in usual or value != usual[name]}
    return {"action": _NAMES[type(action)], **told}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value


def from_json(document: Mapping[str, Any]) -> Action:
    """The action a journal entry describes.

    Raises:
        ValueError, KeyError, TypeError: it is none this Mastomend knows.
    """
    if document["action"] not in _BY_NAME:
        raise ValueError(f"unknown action {document['action']!r} in the journal")
    made = _BY_NAME[document["action"]]
    values = {name: value for name, value in document.items() if name != "action"}
    if made in (EnqueueJob, CancelJob):
        values["job"] = Job(**values["job"])
    elif made is ForgetCached:
        values["keys"] = tuple(values["keys"])
    elif made is SetServing:
        values |= {name: Serving(**values[name]) for name in ("before", "after")}
    return made(**values)
