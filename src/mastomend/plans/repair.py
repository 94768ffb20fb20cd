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

from mastomend.actions.actions import Action, CopyFile, PreserveFile, PutFile, QuarantineFile, SetColumns
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.quarantine import quarantine_key
from mastomend.mastodon.keys import ORIGINAL, ExpectedFile, expected_files, is_safe_name, split_name, styles
from mastomend.mastodon.kinds import MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind, RemoteRule
from mastomend.mastodon.media_types import GIFV, IMAGE, LINK_CARD, VIDEO
from mastomend.mastodon.moderation import Moderation
from mastomend.mastodon.processing import EXTENSIONS, ImageRules
from mastomend.mastodon.urls import origin_host
from mastomend.outcomes import Deferred, Lost, Refreshed, Refused, Restored, Source, Verdict
from mastomend.reasons import Reason
from mastomend.vocabulary import Body, Finding, RowOf, State, Target


@dataclass(frozen=True, slots=True)
class NewFiles:
    """What was made of new bytes: files by style, and what the row says about them.

    `unchanged` means the original is stored just as it came, so that another size means another picture (facts §3.2).
    `media_type` is the attachment's type if the bytes decide it, `url` the new address they came from, if it is new;
    `colours` are a cover's.
    """

    content_type: str
    files: Mapping[str, Body]
    meta: Mapping[str, Mapping[str, object]]
    blurhash: str | None
    size: int
    unchanged: bool = False
    media_type: int | None = None
    source: Source = Source.ORIGIN
    url: str | None = None
    colours: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """The record's world: which of its keys hold something (with sizes), and the row's columns as text."""

    present: Mapping[str, int]
    columns: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Naming:
    """What names are made of: `new_name` is 16 hexadecimal digits, used if the old name cannot stay."""

    run: str
    key_prefix: str
    new_name: str
    now: datetime


def subject(t: Target) -> RowOf:
    """The record as what something is done to."""
    record = t.row.record
    return RowOf(t.kind.name, record.id, record.is_local, t.row.domain, t.row.remote_url, record.file_name)


def derivable(t: Target, found: Sequence[Finding], rules: ImageRules | None, *, video: bool) -> bool:
    """Whether everything that is broken can be made from the original that is still sound.

    Of local records, too: their original is what Mastodon itself made every style from. `video` says whether moving
    pictures can be read here.
    """
    if t.kind is MEDIA_FILES and t.row.media_type not in (None, IMAGE):
        readable = video and t.row.media_type in (GIFV, VIDEO)
    else:
        readable = rules is not None
    return readable and bool(t.files) and all(f.style != ORIGINAL for f in found)


#: How a smaller copy is told of, of a picture whose original is lost.
STILL_THERE = "a smaller copy is still there"


def untouchable(t: Target, found: Sequence[Finding]) -> Verdict | None:
    """Why that record must be left alone, whatever could be done; None if it need not be."""
    if t.row.in_flight:
        return Deferred(Reason.IN_FLIGHT, "Mastodon is changing it right now")
    if hidden := next((f for f in found if f.state is State.UNSERVABLE), None):
        return Refused(Reason.UNREADABLE, f"something may be there: {hidden.detail}")
    if t.row.suspended:
        return Refused(Reason.SUSPENDED, "the account is suspended: its files are not to be seen")
    return None


def undownloadable(t: Target, moderation: Moderation, own_domains: frozenset[str]) -> Verdict | None:
    """Why nothing may be fetched for that record; None if it may be (product.md, safety rules)."""
    row, record = t.row, t.row.record
    if t.kind.remote is RemoteRule.NEVER or (record.is_local and t.kind.remote is not RemoteRule.ALWAYS):
        return Lost(Reason.LOCAL, "a local file: only a backup may have it (repair --from)")
    if row.domain is not None and row.domain.lower() in own_domains:
        return Refused(Reason.OWN_DOMAIN, "the row claims to be remote but names this server")
    domain = row.domain or origin_host(row.remote_url or "") or None  # what belongs to nobody belongs to its host
    if (refused := moderation.refusal(domain, suspended=row.suspended)) is not None:
        return Refused(refused, "moderation forbids downloading this")
    return None


def plan_record(t: Target, broken: Sequence[Finding], made: NewFiles, situation: Situation, naming: Naming) -> Plan:
    """The plan for one record for which new bytes have come from its origin."""
    record = t.row.record
    if is_safe_name(record.file_name) and _name_fits(t.kind, record.file_name, record.content_type, made.content_type):
        return _same_key(t, broken, made, situation, naming)
    return _new_name(t, made, situation, naming)


def plan_stored(
    t: Target,
    source: Source,
    writing: Mapping[str, PutFile | CopyFile],
    present: Mapping[str, int],
    naming: Naming,
) -> Plan:
    """Files that were stored once, or are made of such: what is broken is written; the row is not touched."""
    files = [f for f in t.files if f.style in writing]
    verdict = Restored(Reason.RESTORED, source, len(files), sum(writing[f.style].size for f in files))
    actions = _careful([writing[f.style] for f in files], present, naming)
    return Plan(subject(t), verdict, tuple(actions), Rule.MEND)


def _careful(writing: Sequence[PutFile | CopyFile], present: Mapping[str, int], naming: Naming) -> list[Action]:
    """The writing actions; what they overwrite is kept first."""
    actions: list[Action] = []
    for action in writing:
        if action.key in present:  # an empty file, too: what undo brings back is what was there
            actions.append(PreserveFile(action.key, quarantine_key(naming.run, action.key, naming.key_prefix)))
        actions.append(action)
    return actions


def put(kind: Kind, file: ExpectedFile, made: NewFiles) -> PutFile:
    """The action that stores what was made under that file's key."""
    return PutFile.of(file.key, made.files[file.style], _served_type(kind, file.style, made))


def _name_fits(kind: Kind, file_name: str, recorded: str | None, found: str) -> bool:
    """Whether the stored name may stay for a file of the type that was found."""
    if recorded == found:
        return True
    extension = split_name(file_name)[1].lower()
    return extension in EXTENSIONS.get(found, ()) and styles(kind, recorded) == styles(kind, found)


def _same_key(t: Target, broken: Sequence[Finding], made: NewFiles, situation: Situation, naming: Naming) -> Plan:
    record, kind, columns = t.row.record, t.kind, situation.columns
    identical = made.size == record.file_size and made.content_type == record.content_type
    bad = {f.style for f in broken}
    written = [put(kind, f, made) for f in t.files if f.style in bad or not identical]
    actions = _careful(written, situation.present, naming)
    after: dict[str, str | None] = {}
    if not identical:
        after = _describing(kind, made, columns)
    if made.url is not None and kind.remote_url:
        after[kind.remote_url] = made.url
    if changes := {name: value for name, value in after.items() if columns.get(name) != value}:
        guard = {kind.column("file_name"): record.file_name}
        actions.append(SetColumns(kind.table, record.id, guard | {n: columns[n] for n in changes}, changes))
    # where nothing is re-encoded, other bytes are another picture; where it is, nobody can tell (facts §3.2)
    another = not identical and (made.unchanged or made.url is not None)
    size = sum(action.size for action in written)
    verdict: Verdict
    if another:
        verdict = Refreshed(Reason.OTHER_PICTURE, made.source, len(written), size)
    else:
        reason = Reason.RESTORED if identical else Reason.RESTORED_OTHER_BYTES
        verdict = Restored(reason, made.source, len(written), size)
    return Plan(subject(t), verdict, tuple(actions), Rule.MEND)


def _new_name(t: Target, made: NewFiles, situation: Situation, naming: Naming) -> Plan:
    record, kind, columns = t.row.record, t.kind, situation.columns
    has_version = kind.version_column in columns
    renamed = replace(
        record,
        file_name=f"{naming.new_name}.{EXTENSIONS[made.content_type][0]}",
        content_type=made.content_type,
        file_size=made.size,
        version=1 if has_version else None,
    )
    written = [put(kind, f, made) for f in expected_files(kind, renamed, naming.key_prefix)]
    actions: list[Action] = list(written)
    moment = f"{naming.now:%Y-%m-%d %H:%M:%S}"
    after: dict[str, str | None] = {
        kind.column("file_name"): renamed.file_name,
        kind.column("updated_at"): moment,
        **_describing(kind, made, columns),
    }
    if has_version:
        after[kind.version_column] = "1"
    if made.url is not None and kind.remote_url:
        after[kind.remote_url] = made.url
    if kind.table in ("accounts", "media_attachments"):
        # for emoji a newer updated_at makes Mastodon's own refetch less likely (facts §10)
        after["updated_at"] = moment
    actions.append(SetColumns(kind.table, record.id, {n: columns[n] for n in after}, after))
    leftovers = [f.key for f in t.files if situation.present.get(f.key, -1) >= 0]
    actions += [QuarantineFile(key, quarantine_key(naming.run, key, naming.key_prefix)) for key in leftovers]
    reason = Reason.TYPE_CHANGED if is_safe_name(record.file_name) else Reason.UNSAFE_NAME
    verdict = Refreshed(reason, made.source, len(written), sum(action.size for action in written))
    return Plan(subject(t), verdict, tuple(actions), Rule.MEND)


def _describing(kind: Kind, made: NewFiles, columns: Mapping[str, str | None]) -> dict[str, str | None]:
    """The columns that describe the bytes (facts §3.5, §10 b)."""
    after: dict[str, str | None] = {
        kind.column("content_type"): made.content_type,
        kind.column("file_size"): str(made.size),
    }
    if kind is MEDIA_FILES:
        after["file_meta"] = _merged_meta(columns.get("file_meta"), made.meta)
        if made.blurhash is not None:
            after["blurhash"] = made.blurhash
        if made.media_type is not None:
            after["type"] = str(made.media_type)
    elif kind is MEDIA_THUMBNAILS and columns.get("type") != str(IMAGE):
        # a cover or poster stands for the whole attachment: its hash, its size as `small`, its colours
        after["blurhash"] = made.blurhash
        colours: dict[str, object] = {} if made.colours is None else {"colors": dict(made.colours)}
        after["file_meta"] = _with_meta(columns.get("file_meta"), {"small": dict(made.meta[ORIGINAL]), **colours})
    elif kind is PREVIEW_CARDS:
        after["blurhash"] = made.blurhash
        if columns.get("type") == LINK_CARD:
            after |= {side: str(made.meta[ORIGINAL][side]) for side in ("width", "height")}
    return after


def _with_meta(text: str | None, new: Mapping[str, object]) -> str:
    """Everything stays but for what is new."""
    try:
        old: Any = json.loads(text or "{}")
    except ValueError:
        old = {}
    return json.dumps((old if isinstance(old, dict) else {}) | dict(new))


def _merged_meta(text: str | None, made: Mapping[str, Mapping[str, object]]) -> str:
    """`focus` and `colors` stay, sizes are the new ones. Unreadable old meta is replaced."""
    try:
        old: Any = json.loads(text or "{}")
    except ValueError:
        old = {}
    stays = {"focus", "colors"} | ({"small"} if "small" not in made else set())  # a sound's `small` is its cover's
    kept = {k: v for k, v in old.items() if k in stays} if isinstance(old, dict) else {}
    return json.dumps(kept | {style: dict(values) for style, values in made.items() if style in (ORIGINAL, "small")})


def _served_type(kind: Kind, style: str, made: NewFiles) -> str:
    """The Content-Type of one file's bytes (facts §4.2: the sniffed type of that style)."""
    if kind is PREVIEW_CARDS and made.content_type == "image/gif":
        return "image/jpeg"  # named and recorded as a GIF, made a JPEG (facts §3.3)
    if style == ORIGINAL or (kind is MEDIA_FILES and style == "small" and not made.content_type.startswith("video/")):
        return made.content_type
    return "image/png"
