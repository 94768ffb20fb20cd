"""The reversible changes every command shares. `str(action)` reads as a sentence; `inverse` takes it back.

Data of a `PutFile` is not journaled, only its size and digest: the journal must stay small, and a run that dies
before the file was written simply fetches again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, assert_never

from mastomend.mastodon.jobs import CACHE_BUSTER, Job, cache_buster_job
from mastomend.mastodon.keys import Key
from mastomend.vocabulary import Content

QUARANTINE_FOLDER = ".mastomend/quarantine"


@dataclass(frozen=True, slots=True)
class PutFile:
    """Store a whole file under a key. `data` is None when the action comes back from the journal."""

    key: Key
    content_type: str
    size: int
    digest: str
    data: Content | None = field(default=None, repr=False, compare=False)

    @staticmethod
    def of(key: Key, data: Content, content_type: str) -> PutFile:
        """The action for these bytes, or for the bytes of that file."""
        if isinstance(data, bytes):
            return PutFile(key, content_type, len(data), hashlib.sha256(data).hexdigest(), data)
        with data.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return PutFile(key, content_type, file.tell(), digest, data)

    def __str__(self) -> str:
        return f"put {self.size:,} bytes ({self.content_type}) at {self.key}"


@dataclass(frozen=True, slots=True)
class CopyFile:
    """Copy a file that is already in the storage to a key, inside the storage."""

    key: Key
    source: Key
    size: int
    digest: str

    def __str__(self) -> str:
        return f"copy {self.size:,} bytes from {self.source} to {self.key}"


@dataclass(frozen=True, slots=True)
class PreserveFile:
    """Copy a file that is about to be overwritten into the quarantine."""

    key: Key
    quarantine: Key

    def __str__(self) -> str:
        return f"keep a copy of {self.key} in the quarantine"


@dataclass(frozen=True, slots=True)
class QuarantineFile:
    """Move a file into the quarantine. `even_if_expected` is for undo; a local record's file is never moved."""

    key: Key
    quarantine: Key
    even_if_expected: bool = False

    def __str__(self) -> str:
        return f"move {self.key} to the quarantine"


@dataclass(frozen=True, slots=True)
class RestoreFile:
    """Move a file from the quarantine back to its key, where nothing may be by then."""

    key: Key
    quarantine: Key

    def __str__(self) -> str:
        return f"bring {self.key} back from the quarantine"


@dataclass(frozen=True, slots=True)
class SetColumns:
    """Change columns of one row if they still are as read. Values are PostgreSQL's text form; None is NULL."""

    table: str
    id: int
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]

    def __str__(self) -> str:
        changes = ", ".join(f"{c} {_short(self.before[c])} → {_short(v)}" for c, v in self.after.items())
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


Action = (
    PutFile
    | CopyFile
    | PreserveFile
    | QuarantineFile
    | RestoreFile
    | SetColumns
    | EnqueueJob
    | CancelJob
    | ForgetCached
)


def _short(value: str | None) -> str:
    return "NULL" if value is None else value if len(value) <= 40 else f"{value[:39]}…"


def quarantine_key(run: str, key: str, key_prefix: str = "") -> Key:
    """Where a key waits in the quarantine of a run.

    One flat folder with the key's slashes encoded: no directory depth that a Mastodon tool could take for a key of
    its own (`tootctl media remove-orphans` on S3 deletes foreign keys of 7 or 10 segments, facts §9).
    """
    flat = key.replace("%", "%25").replace("/", "%2F")
    if len(flat.encode()) > 240:  # a disk allows 255 bytes a name
        flat = hashlib.sha256(key.encode()).hexdigest()
    prefix = f"{key_prefix}/" if key_prefix else ""
    return Key(f"{prefix}{QUARANTINE_FOLDER}/{run}/{flat}")


def inverse(action: Action, run: str, key_prefix: str = "") -> Action:
    """The action that takes another back; files it removes go to the quarantine of `run`."""
    match action:
        case PutFile(key=key) | CopyFile(key=key):
            return QuarantineFile(key, quarantine_key(run, key, key_prefix), even_if_expected=True)
        case PreserveFile(key=key, quarantine=quarantine) | QuarantineFile(key=key, quarantine=quarantine):
            return RestoreFile(key, quarantine)
        case RestoreFile(key=key, quarantine=quarantine):
            return QuarantineFile(key, quarantine, even_if_expected=True)
        case EnqueueJob(job=job) if job.worker == CACHE_BUSTER:
            return EnqueueJob(cache_buster_job(str(job.argument), run))  # the CDN must forget the new file, too
        case EnqueueJob(job=job):
            return CancelJob(job)
        case CancelJob(job=job):
            return EnqueueJob(job)
        case ForgetCached():
            return action
        case SetColumns(table=table, id=record_id, before=before, after=after):
            return SetColumns(table, record_id, dict(after), {name: before[name] for name in after})
        case _:
            assert_never(action)


#: What `to_json` calls the actions.
ACTION_NAMES = frozenset({"put", "copy", "preserve", "quarantine", "restore", "set", "enqueue", "cancel", "forget"})


def to_json(action: Action) -> dict[str, Any]:
    """The journal's form."""
    match action:
        case PutFile():
            fields = {"key": action.key, "content_type": action.content_type, "size": action.size}
            return {"action": "put", **fields, "digest": action.digest}
        case CopyFile():
            return {
                "action": "copy",
                "key": action.key,
                "source": action.source,
                "size": action.size,
                "digest": action.digest,
            }
        case PreserveFile():
            return {"action": "preserve", "key": action.key, "quarantine": action.quarantine}
        case QuarantineFile():
            return {
                "action": "quarantine",
                "key": action.key,
                "quarantine": action.quarantine,
                "even_if_expected": action.even_if_expected,
            }
        case RestoreFile():
            return {"action": "restore", "key": action.key, "quarantine": action.quarantine}
        case SetColumns():
            before, after = dict(action.before), dict(action.after)
            return {"action": "set", "table": action.table, "id": str(action.id), "before": before, "after": after}
        case EnqueueJob(job=job):
            return {"action": "enqueue", "at": action.at, "job": asdict(job)}
        case CancelJob(job=job):
            return {"action": "cancel", "job": asdict(job)}
        case ForgetCached():
            return {"action": "forget", "keys": list(action.keys)}
        case _:
            assert_never(action)


def from_json(document: Mapping[str, Any]) -> Action:
    """The action a journal entry describes."""
    match document["action"]:
        case "put":
            return PutFile(
                Key(document["key"]), document["content_type"], int(document["size"]), str(document["digest"])
            )
        case "copy":
            return CopyFile(
                Key(document["key"]), Key(document["source"]), int(document["size"]), str(document["digest"])
            )
        case "preserve":
            return PreserveFile(Key(document["key"]), Key(document["quarantine"]))
        case "quarantine":
            return QuarantineFile(Key(document["key"]), Key(document["quarantine"]), bool(document["even_if_expected"]))
        case "restore":
            return RestoreFile(Key(document["key"]), Key(document["quarantine"]))
        case "set":
            return SetColumns(document["table"], int(document["id"]), document["before"], document["after"])
        case "enqueue":
            return EnqueueJob(Job(**document["job"]), float(document["at"]))
        case "cancel":
            return CancelJob(Job(**document["job"]))
        case "forget":
            return ForgetCached(tuple(document["keys"]))
        case other:
            raise ValueError(f"unknown action {other!r} in the journal")
