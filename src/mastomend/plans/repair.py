"""What to do for one broken record once new bytes are at hand, and when not to try at all. Pure.

The cheapest true repair wins: the same key and an untouched row when the bytes are those the row describes; the same
key and corrected columns when only sizes or meta differ; a new name only when the name cannot stay, because the type
changed or the name was unsafe (facts §10 b and c).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mastomend.actions.actions import Action, PreserveFile, PutFile, QuarantineFile, SetColumns, quarantine_key
from mastomend.mastodon.keys import ORIGINAL, ExpectedFile, expected_files, is_safe_name, split_name, styles
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, Kind, RemoteRule, is_blank
from mastomend.mastodon.moderation import Moderation
from mastomend.mastodon.processing import EXTENSIONS, ImageRules
from mastomend.outcomes import Outcome, RecordOutcome, Source
from mastomend.vocabulary import Finding, State, Target

#: `media_attachments.type` (facts §1): an image is made here, the others need ffmpeg.
_IMAGE = 0
_UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class NewFiles:
    """What the images room made: files by style, and what the row says about them."""

    content_type: str
    files: Mapping[str, bytes]
    meta: Mapping[str, Mapping[str, object]]
    blurhash: str | None


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """The outcome if all goes well, and the actions that lead there."""

    outcome: RecordOutcome
    actions: tuple[Action, ...]

    def __str__(self) -> str:
        head = f"{self.outcome.kind} {self.outcome.id}: {self.outcome.outcome}"
        return "\n".join([head, *(f"  {action}" for action in self.actions)])


def undecided(t: Target) -> RecordOutcome:
    """The record as a report row, nothing decided yet."""
    record = t.row.record
    return RecordOutcome(t.kind.name, record.id, record.is_local, t.row.domain, t.row.remote_url, None, None, "", "")


def derivable(t: Target, found: Sequence[Finding], rules: ImageRules | None) -> bool:
    """Whether everything that is broken can be made from the original that is still sound."""
    media_image = t.kind is not MEDIA_FILES or t.row.media_type in (None, _IMAGE)
    broken = {f.style for f in found}
    readable = all(f.state is not State.UNSERVABLE for f in found)
    return bool(rules and t.files and media_image and readable and not t.row.record.is_local and ORIGINAL not in broken)


def refusal(
    t: Target, found: Sequence[Finding], rules: ImageRules | None, moderation: Moderation, own_domains: frozenset[str]
) -> RecordOutcome | None:
    """Why nothing must or can be fetched for that record; None if it may be (product.md, safety rules)."""
    row, record = t.row, t.row.record

    def no(outcome: Outcome, reason: str, detail: str) -> RecordOutcome:
        return replace(undecided(t), outcome=outcome, reason=reason, detail=detail)

    if t.kind.remote is RemoteRule.NEVER or (record.is_local and t.kind.remote is not RemoteRule.ALWAYS):
        return no(Outcome.LOST, "local", "a local file: it needs a backup, or `mastomend rescue`")
    if any(f.state is State.UNSERVABLE for f in found):
        return no(Outcome.REFUSED, "unreadable", "something is there that this process may not read")
    if row.domain is not None and row.domain.lower() in own_domains:
        return no(Outcome.REFUSED, "own_domain", "the row claims to be remote but names this server")
    if (refused := moderation.refusal(row.domain, suspended=row.suspended)) is not None:
        return no(Outcome.REFUSED, refused, "moderation forbids downloading this")
    if is_blank(row.remote_url):
        return no(Outcome.LOST, "no_url", "the database knows no address it came from")
    if rules is None or (t.kind is MEDIA_FILES and row.media_type not in (None, _IMAGE, _UNKNOWN)):
        return no(Outcome.DEFERRED, "needs_ffmpeg", "video and audio are not restored by this release")
    return None


def plan_record(
    t: Target,
    broken: Sequence[Finding],
    present: Mapping[str, int],
    made: NewFiles,
    columns: Mapping[str, str | None],
    new_name: str,
    now: datetime,
    run: str,
    key_prefix: str,
) -> RecordPlan:
    """The plan for one record.

    `present` maps the record's keys that hold something to their size; `columns` are the row's columns in PostgreSQL's
    text form, only those the schema has; `new_name` is 16 hexadecimal digits used if the name cannot stay.
    """
    record = t.row.record
    if is_safe_name(record.file_name) and _name_fits(t.kind, record.file_name, record.content_type, made.content_type):
        return _same_key(t, broken, present, made, columns, run, key_prefix)
    return _new_name(t, present, made, columns, new_name, now, run, key_prefix)


def plan_derived(
    t: Target, broken: Sequence[Finding], made: NewFiles, present: Mapping[str, int], run: str, key_prefix: str
) -> RecordPlan:
    """Only the broken derived styles, made from the surviving original; neither that nor the row is touched."""
    bad = {f.style for f in broken}
    written = [f for f in t.files if f.style in bad and f.style in made.files]
    outcome = replace(
        undecided(t),
        outcome=Outcome.RESTORED,
        source=Source.ORIGINAL,
        reason="restored",
        files=len(written),
        bytes=sum(len(made.files[f.style]) for f in written),
    )
    return RecordPlan(outcome, tuple(_writing(t.kind, written, made, present, run, key_prefix)))


def _writing(
    kind: Kind, files: Sequence[ExpectedFile], made: NewFiles, present: Mapping[str, int], run: str, key_prefix: str
) -> list[Action]:
    """Put the files; what they overwrite is kept first."""
    actions: list[Action] = []
    for file in files:
        if present.get(file.key, 0) > 0:
            actions.append(PreserveFile(file.key, quarantine_key(run, file.key, key_prefix)))
        actions.append(PutFile.of(file.key, made.files[file.style], _served_type(kind, file.style, made)))
    return actions


def _name_fits(kind: Kind, file_name: str, recorded: str | None, found: str) -> bool:
    """Whether the stored name may stay for a file of the type that was found."""
    if recorded == found:
        return True
    extension = split_name(file_name)[1].lower()
    return extension in EXTENSIONS.get(found, ()) and styles(kind, recorded) == styles(kind, found)


def _same_key(
    t: Target,
    broken: Sequence[Finding],
    present: Mapping[str, int],
    made: NewFiles,
    columns: Mapping[str, str | None],
    run: str,
    key_prefix: str,
) -> RecordPlan:
    record, kind = t.row.record, t.kind
    identical = len(made.files[ORIGINAL]) == record.file_size and made.content_type == record.content_type
    bad = {f.style for f in broken}
    written = [f for f in t.files if f.style in bad or not identical]
    actions = _writing(kind, written, made, present, run, key_prefix)
    after: dict[str, str | None] = {}
    if not identical:
        after = _describing(kind, made, columns)
    if changes := {name: value for name, value in after.items() if columns.get(name) != value}:
        guard = {kind.column("file_name"): record.file_name}
        actions.append(SetColumns(kind.table, record.id, guard | {n: columns[n] for n in changes}, changes))
    outcome = replace(
        undecided(t),
        outcome=Outcome.RESTORED,
        source=Source.ORIGIN,
        reason="restored" if identical else "restored_other_bytes",
        files=len(written),
        bytes=sum(len(made.files[f.style]) for f in written),
    )
    return RecordPlan(outcome, tuple(actions))


def _new_name(
    t: Target,
    present: Mapping[str, int],
    made: NewFiles,
    columns: Mapping[str, str | None],
    new_name: str,
    now: datetime,
    run: str,
    key_prefix: str,
) -> RecordPlan:
    record, kind = t.row.record, t.kind
    has_version = kind.version_column in columns
    renamed = replace(
        record,
        file_name=f"{new_name}.{EXTENSIONS[made.content_type][0]}",
        content_type=made.content_type,
        file_size=len(made.files[ORIGINAL]),
        version=1 if has_version else None,
    )
    files = expected_files(kind, renamed, key_prefix)
    actions: list[Action] = [PutFile.of(f.key, made.files[f.style], _served_type(kind, f.style, made)) for f in files]
    moment = f"{now:%Y-%m-%d %H:%M:%S}"
    after: dict[str, str | None] = {
        kind.column("file_name"): renamed.file_name,
        kind.column("updated_at"): moment,
        **_describing(kind, made, columns),
    }
    if has_version:
        after[kind.version_column] = "1"
    if kind.table in ("accounts", "media_attachments"):
        # for emoji a newer updated_at makes Mastodon's own refetch less likely (facts §10)
        after["updated_at"] = moment
    actions.append(SetColumns(kind.table, record.id, {n: columns[n] for n in after}, after))
    leftovers = [f.key for f in t.files if present.get(f.key, -1) >= 0]
    actions += [QuarantineFile(key, quarantine_key(run, key, key_prefix)) for key in leftovers]
    outcome = replace(
        undecided(t),
        outcome=Outcome.REFRESHED,
        source=Source.ORIGIN,
        reason="type_changed" if is_safe_name(record.file_name) else "unsafe_name",
        files=len(files),
        bytes=sum(len(made.files[f.style]) for f in files),
    )
    return RecordPlan(outcome, tuple(actions))


def _describing(kind: Kind, made: NewFiles, columns: Mapping[str, str | None]) -> dict[str, str | None]:
    """The columns that describe the bytes (facts §3.5, §10 b)."""
    after: dict[str, str | None] = {
        kind.column("content_type"): made.content_type,
        kind.column("file_size"): str(len(made.files[ORIGINAL])),
    }
    if kind is MEDIA_FILES:
        meta = _merged_meta(columns.get("file_meta"), made.meta)
        after |= {"file_meta": meta, "blurhash": made.blurhash}
        if columns.get("type") == str(_UNKNOWN):
            after["type"] = str(_IMAGE)
    elif kind is MEDIA_THUMBNAILS and columns.get("type") != str(_IMAGE):
        after["blurhash"] = made.blurhash  # a cover's or poster's hash stands for the whole attachment
    return after


def _merged_meta(text: str | None, made: Mapping[str, Mapping[str, object]]) -> str:
    """`focus` and `colors` stay, sizes are the new ones. Unreadable old meta is replaced."""
    try:
        old: Any = json.loads(text or "{}")
    except ValueError:
        old = {}
    kept = {k: v for k, v in old.items() if k in ("focus", "colors")} if isinstance(old, dict) else {}
    return json.dumps(kept | {style: dict(values) for style, values in made.items() if style in (ORIGINAL, "small")})


def _served_type(kind: Kind, style: str, made: NewFiles) -> str:
    """The Content-Type of one file's bytes (facts §4.2: the sniffed type of that style)."""
    if style == ORIGINAL or (kind is MEDIA_FILES and style == "small"):
        return made.content_type
    return "image/png"
