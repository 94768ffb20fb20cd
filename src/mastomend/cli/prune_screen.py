"""What a person reads before cached media go, and afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mastomend.cli.output import count, escape, result, show_table, size, span
from mastomend.commands.prune_report import PruneReport
from mastomend.inventory.keeping import DAY, FOREVER, NO_ADDRESS, SCORE, SUSPENDED, UNREACHABLE, UNSEEN, Policy
from mastomend.mastodon.clearing import OCCASIONS
from mastomend.mastodon.kinds import AVATARS
from mastomend.mastodon.relationships import Of, places

_BAR = 12
_STANDING = {"touched": "touched once", "followed": "of somebody followed", "stranger": "of strangers"}
_OTHER = {
    NO_ADDRESS: "No address is known it could come from again.",
    UNREACHABLE: "Its server does not answer Mastodon any more.",
    UNSEEN: "A file of it may not be looked at by this user.",
    SUSPENDED: "The account is suspended: Mastodon itself removes its files in time.",
}


@dataclass(frozen=True, slots=True)
class Commands:
    """What may be run next."""

    apply: str
    undo: str
    show: str


def show(report: PruneReport, commands: Commands) -> None:
    """The preview; with `--apply` what became of it."""
    result.print(
        f"{count(report.cached.records, 'record')} of other servers, [bold]{size(report.cached.bytes)}[/] cached."
    )
    if report.applied:
        _show_done(report, commands)
        return
    _show_ages(report)
    _show_kept(report)
    _show_groups(report)
    _show_goes(report)
    for reason in report.stops:
        result.print(f"[bold red]{escape(reason)}[/]")
    if report.stops:
        result.print("With --apply this stops. Is everything mounted that should be?")
    elif report.goes.records and report.over > report.stays.bytes:
        _notes(report)
        result.print("Nothing was changed. With --apply all of it goes, and that is not enough: see usage first.")
    elif report.goes.records:
        _notes(report)
        first = "Once what stops it (above) is mended" if report.is_barred else "Next"
        result.print(f"Nothing was changed. {first}: [command]{escape(commands.apply)}[/]")
    else:
        fits = report.policy.has_budget and not report.over
        why = "it fits" if fits else "it is not old enough, kept, or nothing says an age or a budget for its kind"
        result.print(f"Nothing of it would go: {why}.")


def _show_ages(report: PruneReport) -> None:
    most = max((one.frees_all.bytes for one in report.ages), default=0)
    rows = [
        (
            [
                "a day" if one.days == 1 else f"{one.days} days",
                size(one.frees.bytes),
                f"{one.frees.records:,}",
                _bar(one.frees.bytes, most),
                size(one.frees_all.bytes),
            ],
            None,
        )
        for one in report.ages
    ]
    if most:
        result.print("")
        show_table(["keep", "frees", "records", "", "if nothing were kept"], rows)


def _show_kept(report: PruneReport) -> None:
    if not report.kept:
        return
    words = _OTHER | {place.relationship: place.words for of in reversed(Of) for place in reversed(places(of))}
    result.print("\nWhat stays, whatever its age:")
    rows = [([why, f"{one.records:,}", size(one.bytes), words[why]], None) for why, one in report.kept.items()]
    show_table(["kept", "records", "size", "because"], rows, sentences=True)


def _show_groups(report: PruneReport) -> None:
    """By value: only a budget asks for it."""
    if not report.policy.has_budget or not report.groups:
        return
    result.print("\nThe rest by value, the least first:")
    rows = [
        (
            [
                f"{one.lowest}" if one.lowest == one.highest else f"{one.lowest} to {one.highest}",
                one.unit,
                _STANDING[one.standing],
                f"{one.all.records:,}",
                size(one.all.bytes),
                size(one.goes.bytes) if one.goes.records else "·",
            ],
            None,
        )
        for one in report.groups
    ]
    show_table(["value", "kind", "", "records", "size", "goes"], rows)
    result.print("A value is the sum of these, each with its most:")
    for part, (most, words) in SCORE.items():
        result.print(f"  {most:>2}  {part}: {words}")


def _show_goes(report: PruneReport) -> None:
    result.print("")
    for unit, (whole, _, goes) in report.by_unit.items():
        if goes.records:
            what, left = count(goes.records, "record"), size(whole.bytes - goes.bytes)
            term = report.policy.ages.get(unit)
            by_age = term is not None and not (report.policy.has_budget or report.policy.domains)
            rule = f" (nothing has used them for {span(term)})" if by_age and term else ""
            result.print(f"[bold]{what} of {unit} would go[/]{rule}, {size(goes.bytes)}; {left} would be left.")
    if report.limited is not None and report.limited.records < report.goes.records:
        result.print(f"Of them this run takes {count(report.limited.records, 'record')}, {size(report.limited.bytes)}.")
    if report.over:
        if report.stays.bytes >= report.over:
            result.print(f"[bold red]{size(report.over)} too much would be left[/]: what is kept does not fit in.")
            result.print("Shorter terms make room: --keep WHAT=TERM.")
        else:
            result.print(
                f"[bold red]{size(report.over)} more would have to go[/] than may go, and what is kept is less."
            )
            result.print("Something else fills the disk: see usage.")


def _notes(report: PruneReport) -> None:
    """What comes back, and when."""
    units = [unit for unit, (_, _, goes) in report.by_unit.items() if goes.records]
    if "attachments" in units:
        result.print("Attachments come back when somebody looks at the post, if its server still has them.")
    if {"avatars", "headers"} & set(units):
        result.print(
            f"Avatars and headers come back only {OCCASIONS[AVATARS.name]}. Until then a placeholder is shown. Sooner: "
            "tootctl accounts refresh."
        )
    if "preview_cards" in units:
        result.print("A link's picture comes back only when the link is posted again.")
    if "emojis" in units:
        result.print("An emoji comes back only when its server sends it changed.")
    result.print("Files go for good: an undo brings back rows, and a repair then the files that are still to be had.")
    if report.looks is not None:
        result.print(f"{count(report.looks, 'look')} from the logs. What a CDN answered itself is in none of them.")


def _show_done(report: PruneReport, commands: Commands) -> None:
    result.print(
        f"[bold]{count(report.evicted.records, 'record')} let go[/], {count(report.files, 'file')} deleted for good, "
        f"{size(report.evicted.bytes)} freed. ({report.duration_s:.1f} s)"
    )
    for line in report.left:
        result.print(f"[yellow]left:[/] {escape(line)}")
    if report.left_alone > len(report.left):
        result.print(f"… and {report.left_alone - len(report.left):,} more that were left.")
    for line in report.stayed:
        result.print(f"[yellow]stays:[/] {escape(line)}")
    if report.over:
        rest = report.limited is not None or report.left_alone
        why = "the next run takes more" if rest else "what is kept does not fit in"
        result.print(f"[bold red]{size(report.over)} too much are left[/]: {why}.")
    if report.evicted.records:
        result.print(f"Record by record: [command]{escape(commands.show)}[/]")
        result.print("Files do not come back by an undo, rows do; a repair fetches the files then:")
        result.print(f"  [command]{escape(commands.undo)}[/]")


def show_posts(report: PruneReport, apply: str, undo: str) -> None:
    """Posts nobody here touched."""
    (whole, kept, goes) = report.by_unit["statuses"]
    what = (
        f"{count(whole.records, 'post')} from elsewhere are old enough, unanswered, and of nobody who is followed here"
    )
    stay = f" {kept.records:,} of them stay:" if kept.records else ""
    result.print(f"{what}.{stay}")
    words = {place.relationship: place.words for place in reversed(places(Of.POST))}
    words["boost"] = "It is boosted by a post that stays."
    rows = [([why, f"{one.records:,}", words[why]], None) for why, one in report.kept.items()]
    if rows:
        show_table(["kept", "posts", "because"], rows, sentences=True)
    if report.applied:
        what = count(report.evicted.records, "post")
        result.print(f"[bold]{what} archived and deleted[/], with what boosts them. ({report.duration_s:.1f} s)")
        for line in report.left:
            result.print(f"[yellow]left:[/] {escape(line)}")
        result.print("Mastodon removes their media within a day or two.")
        if report.evicted.records:
            result.print(f"To bring them back: [command]{escape(undo)}[/]")
    elif goes.records:
        result.print(f"[bold]{count(goes.records, 'post')} would be archived and deleted[/], with what boosts them.")
        if report.limited is not None and report.limited.records < goes.records:
            result.print(f"Of them this run takes {count(report.limited.records, 'post')}, the oldest.")
        result.print(f"Nothing was changed. Next: [command]{escape(apply)}[/]")
    else:
        result.print("None would go.")


def show_lifecycle(policy: Policy, key_prefix: str) -> None:
    """Rules in S3's form: they delete by the age of the object, and know of nobody who cares."""
    folders = {
        "attachments": "cache/media_attachments/",
        "avatars": "cache/accounts/avatars/",
        "headers": "cache/accounts/headers/",
        "preview_cards": "cache/preview_cards/",
        "emojis": "cache/custom_emojis/",
    }
    prefix = f"{key_prefix}/" if key_prefix else ""
    rules = [
        {
            "ID": f"mastodon-{unit}",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{prefix}{folders[unit]}"},
            "Expiration": {"Days": max(1, term // DAY)},
        }
        for unit, term in policy.ages.items()
        if term < FOREVER
    ]
    rules.append(
        {
            "ID": "unfinished-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        }
    )
    result.print_json(json.dumps({"Rules": rules}))
    result.print(
        "[yellow]These rules delete files and leave the rows as they are[/]: each is a broken picture until a repair, and what "
        "people here favourited goes as well. The rule for unfinished uploads alone does no harm. Better: mastomend prune."
    )


def _bar(n: int, most: int) -> str:
    return "█" * max(round(_BAR * n / most), 1) if n and most else ""
