"""What a person reads of where the bytes are: tables, with bars where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence

from mastomend.cli.output import NONE, clock, count, escape, result, show_table, size
from mastomend.commands.usage_report import UsageReport
from mastomend.inventory.usage import Amount
from mastomend.plans.prices import dollars

_BAR = 10
#: What lies between what the database claims and what is held.
PARTS = {
    "derived": "small and static pictures, of which the database has no size",
    "missing": "pictures the database has and the storage does not",
    "other_sizes": "originals that are larger or smaller than recorded",
}
_APART = {
    "quarantine": "in Mastomend's quarantine (cleanup removes it)",
    "leftovers": "folder markers and unfinished files",
    "unrecognized": "not Mastodon's: other tenants, favicons, unknown names",
}


def show(report: UsageReport, orphans: str, which: str, prune: str) -> None:
    """What takes how much, what it costs, how it grows, what the database claims, and what one may look at next."""
    all_ = f"{count(report.total.files, 'file')}, {size(report.total.bytes)}"
    result.print(f"{escape(report.domain)}, {escape(report.storage)}: [bold]{all_}[/]\n")
    if not report.total.files and not report.claimed:
        result.print("Nothing is stored, and no record has a file.")
        return
    _kinds(report)
    _most("server", [(domain, one) for domain, one in report.domains])
    _most("account", [(name, one) for name, _, one in report.accounts])
    ages = [(_age(days), one) for days, one in report.ages if one.files]
    _most("cached, by age", ages)
    _claims(report)
    _money(report)
    _growth(report)
    if nobodys := sum((one.orphans for one in report.kinds), Amount()).files:
        result.print(f"{count(nobodys, 'file')} no record expects: [command]{escape(orphans)}[/]")
    if report.apart.get("unrecognized", Amount()).files and not report.is_selected:
        result.print(f"What is not Mastodon's, file by file: [command]{escape(which)}[/]")
    result.print(f"What letting go of would free: [command]{escape(prune)}[/]")


def _kinds(report: UsageReport) -> None:
    most = max((_of(one.local, one.cached, one.orphans).bytes for one in report.kinds), default=0)
    rows = []
    for one in report.kinds:
        whole = _of(one.local, one.cached, one.orphans)
        if whole.files:
            cells = [size(part.bytes) if part.files else NONE for part in (one.local, one.cached, one.orphans, whole)]
            rows.append(([one.kind, f"{whole.files:,}", *cells, _bar(whole.bytes, most)], None))
    show_table(["kind", "files", "local", "cached", "nobody's", "all", ""], rows)
    for name, words in _APART.items():
        amount = report.apart.get(name, Amount())
        if amount.files and not report.is_selected:
            result.print(f"{size(amount.bytes):>10}  {words} ({count(amount.files, 'file')})")


def _most(what: str, found: Sequence[tuple[str, Amount]]) -> None:
    if not found:
        return
    result.print("")
    most = max(one.bytes for _, one in found)
    show_table(
        [what, "files", "size", ""],
        [([name, f"{one.files:,}", size(one.bytes), _bar(one.bytes, most)], None) for name, one in found],
    )


def _claims(report: UsageReport) -> None:
    result.print(
        f"\nThe database claims {size(report.claimed)}; these records hold {size(report.used.bytes)}. Between them:"
    )
    for name, words in PARTS.items():
        if n := report.difference.get(name, 0):
            result.print(f"{'-' if n < 0 else '+'}{size(abs(n)):>9}  {words}")
    for words, amount in (("old versions", report.versions), ("unfinished uploads", report.uploads)):
        if amount is not None and amount.files:
            result.print(
                f"{size(amount.bytes):>10}  {words} besides, which the store keeps and bills ({amount.files:,})"
            )
    for one in report.untold:
        result.print(f"         ?  {one}: the store does not tell")


def _money(report: UsageReport) -> None:
    if report.price is None or report.a_month is None:
        return
    price = report.price
    result.print(f"{dollars(report.a_month)} a month at the prices of {escape(price.name)} read on {price.read_on}.")
    if price.minimum_days:
        result.print(
            f"   What is deleted before {price.minimum_days} days is paid for until then: a short retention saves nothing."
        )


def _growth(report: UsageReport) -> None:
    if report.growth is not None:
        sign = "-" if report.growth.bytes_per_day < 0 else ""
        per_day = f"{sign}{size(round(abs(report.growth.bytes_per_day)))}"
        result.print(f"It grows by {per_day} a day since {clock(report.growth.since)}.")
    if report.disk is not None:
        when = f": full on {report.disk.full_on}, if it goes on like that" if report.disk.full_on else ""
        result.print(f"The disk has {size(report.disk.free)} of {size(report.disk.total)} left{when}.")


def _of(*parts: Amount) -> Amount:
    return sum(parts, Amount())


def _bar(n: int, most: int) -> str:
    """Never nothing for something."""
    return "█" * max(round(_BAR * n / most), 1) if n and most else ""


def _age(days: int | None) -> str:
    return "older" if days is None else "a day" if days == 1 else f"up to {days} days"
