"""Where the bytes are: sums over what a scan of all there is has found, joined in the database engine.

Bytes are those the storage holds. What the database claims (the sizes of originals) is set beside them, and the difference is
made of named parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mastomend.inventory.scan import Inventory
from mastomend.inventory.strays import OURS
from mastomend.mastodon.columnar import quote
from mastomend.mastodon.keys import CACHE, ORIGINAL, below
from mastomend.mastodon.selection import Selection
from mastomend.vocabulary import Stray

#: Ages in days; what is older than the last is one group.
AGES = (1, 7, 30, 90, 180, 365)
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Amount:
    """Files and bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Counted:
    """What of a kind is local, cached and nobody's, and what the database claims of its originals."""

    kind: str
    local: Amount
    cached: Amount
    orphans: Amount
    claimed: int


def join(
    inventory: Inventory, selection: Selection, kinds: Sequence[str], records: Sequence[tuple[str, int]] | None
) -> None:
    """The relation `used`: every file that is there and expected (`key, size, kind, style, id, is_local, domain, account`, and
    `moment` in seconds since 1970), and `claims`, what is expected of originals; of what is selected.
    """
    connection = inventory.work.connection
    described = " UNION ALL ".join(table.described() for table in inventory.expected)
    connection.execute("CREATE OR REPLACE TABLE chosen (kind VARCHAR, id BIGINT)")
    if records:
        connection.execute(
            "INSERT INTO chosen SELECT unnest(?::VARCHAR[]), unnest(?::BIGINT[])",
            [[kind for kind, _ in records], [record_id for _, record_id in records]],
        )
    where = " AND ".join(_conditions(selection, kinds, limited=records is not None))
    connection.execute(f"CREATE OR REPLACE VIEW described AS SELECT * FROM ({described}) d WHERE {where}")
    connection.execute(
        "CREATE OR REPLACE TABLE used AS SELECT o.key, o.size, d.kind, d.style, d.id, d.is_local, d.domain, d.account, "
        "greatest(d.updated, d.created) AS moment FROM (SELECT DISTINCT ON (key) key, size FROM objects) o "
        "JOIN described d USING (key)"
    )
    connection.execute(
        f"CREATE OR REPLACE TABLE claims AS SELECT kind, count(*) AS files, coalesce(sum(expected_bytes), 0)::BIGINT AS bytes "
        f"FROM described WHERE style = {quote(ORIGINAL)} GROUP BY kind"
    )


def _conditions(selection: Selection, kinds: Sequence[str], *, limited: bool) -> list[str]:
    found = [f"d.kind IN ({', '.join(map(quote, kinds))})"]
    if selection.local is not None:
        found.append("d.is_local" if selection.local else "NOT d.is_local")
    if selection.domains:
        found.append(_in(selection.domains))
    if selection.without_domains:
        found.append(f"NOT coalesce({_in(selection.without_domains)}, false)")
    if limited:
        found.append("(d.kind, d.id) IN (SELECT kind, id FROM chosen)")
    return found


def _in(domains: Sequence[str]) -> str:
    return (
        "("
        + " OR ".join(f"d.domain = {quote(one)} OR ends_with(d.domain, {quote('.' + one)})" for one in domains)
        + ")"
    )


def total(inventory: Inventory) -> Amount:
    """All there is."""
    ((files, size),) = inventory.work.connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM (SELECT DISTINCT ON (key) size FROM objects)"
    ).fetchall()
    return Amount(files, int(size))


def by_kind(inventory: Inventory, kinds: Sequence[str], key_prefix: str, *, with_orphans: bool) -> list[Counted]:
    """Each kind's numbers, also of those that hold nothing."""
    rows = inventory.work.connection.execute(
        "SELECT kind, is_local, count(*), coalesce(sum(size), 0) FROM used GROUP BY ALL"
    ).fetchall()
    held = {(kind, is_local): Amount(files, int(size)) for kind, is_local, files, size in rows}
    claimed = dict(inventory.work.connection.execute("SELECT kind, bytes FROM claims").fetchall())
    nobodys = _orphans(inventory, key_prefix) if with_orphans else {}
    return [
        Counted(
            kind,
            held.get((kind, True), Amount()),
            held.get((kind, False), Amount()),
            nobodys.get(kind, Amount()),
            int(claimed.get(kind, 0)),
        )
        for kind in kinds
    ]


def _orphans(inventory: Inventory, key_prefix: str) -> dict[str, Amount]:
    base, cache = len(below(key_prefix)), len(CACHE)
    rows = inventory.work.connection.execute(
        f"""
        WITH bare AS (SELECT substr(key, {base + 1}) AS name, size FROM stray WHERE why IN (?, ?)),
        named AS (
            SELECT CASE WHEN starts_with(name, {quote(CACHE)}) THEN substr(name, {cache + 1}) ELSE name END AS name, size
            FROM bare
        )
        SELECT split_part(name, '/', 1) || '/' || split_part(name, '/', 2), count(*), sum(size) FROM named GROUP BY 1
        """,
        [Stray.ORPHAN.value, Stray.STALE_DUPLICATE.value],
    ).fetchall()
    return {kind: Amount(files, int(size)) for kind, files, size in rows}


def by_domain(inventory: Inventory, most: int) -> list[tuple[str, Amount]]:
    """The servers whose cached files take most."""
    return _top(inventory, "domain", "NOT is_local AND domain IS NOT NULL", most)


def by_account(inventory: Inventory, most: int) -> list[tuple[int, Amount]]:
    """The accounts, by id, whose files take most."""
    return [(int(account), amount) for account, amount in _top(inventory, "account", "account IS NOT NULL", most)]


def _top(inventory: Inventory, column: str, where: str, most: int) -> list[tuple[str, Amount]]:
    rows = inventory.work.connection.execute(
        f"SELECT {column}, count(*), sum(size) AS bytes FROM used WHERE {where} "
        "GROUP BY 1 ORDER BY bytes DESC, 1 LIMIT ?",
        [most],
    ).fetchall()
    return [(name, Amount(files, int(size))) for name, files, size in rows]


def by_style(inventory: Inventory) -> list[tuple[str, str, Amount]]:
    """Each kind's styles."""
    rows = inventory.work.connection.execute(
        "SELECT kind, style, count(*), sum(size) FROM used GROUP BY ALL ORDER BY kind, style"
    ).fetchall()
    return [(kind, style, Amount(files, int(size))) for kind, style, files, size in rows]


def by_age(inventory: Inventory, now_s: float) -> list[tuple[int | None, Amount]]:
    """Cached files by how many days ago their row was made or its file changed: each group's upper end, None for the rest."""
    cases = " ".join(f"WHEN moment > {now_s - days * _DAY:.0f} THEN {days}" for days in AGES)
    rows = inventory.work.connection.execute(
        f"SELECT CASE {cases} END AS age, count(*), sum(size) FROM used WHERE NOT is_local GROUP BY 1"
    ).fetchall()
    found = {age: Amount(files, int(size)) for age, files, size in rows}
    return [(age, found.get(age, Amount())) for age in (*AGES, None)]


def apart(inventory: Inventory, key_prefix: str) -> dict[str, Amount]:
    """What is no record's: `unrecognized`, `quarantine` and `leftovers` (folder markers, unfinished files)."""
    connection = inventory.work.connection
    found = connection.execute("SELECT why, count(*), sum(size) FROM stray GROUP BY why").fetchall()
    rows = {Stray(why): Amount(files, int(size)) for why, files, size in found}
    ((files, size),) = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM objects WHERE starts_with(key, ?)", [below(key_prefix) + OURS]
    ).fetchall()
    leftovers = rows.get(Stray.DIRECTORY_MARKER, Amount()) + rows.get(Stray.TEMPORARY, Amount())
    return {
        "unrecognized": rows.get(Stray.UNRECOGNIZED, Amount()),
        "quarantine": Amount(files, int(size)),
        "leftovers": leftovers,
    }


def difference(inventory: Inventory) -> dict[str, int]:
    """What records' files take beyond what the database claims: `derived` styles, which it has no size of; originals of another
    size than recorded (`other_sizes`); and less what is `missing`.
    """
    is_original = f"style = {quote(ORIGINAL)}"
    ((original, derived),) = inventory.work.connection.execute(
        f"SELECT coalesce(sum(size) FILTER ({is_original}), 0), coalesce(sum(size) FILTER (NOT {is_original}), 0) FROM used"
    ).fetchall()
    ((claimed,),) = inventory.work.connection.execute("SELECT coalesce(sum(bytes), 0) FROM claims").fetchall()
    ((missing,),) = inventory.work.connection.execute(
        f"SELECT coalesce(sum(expected_bytes), 0) FROM described d WHERE style = {quote(ORIGINAL)} "
        "AND NOT EXISTS (SELECT 1 FROM used u WHERE u.key = d.key)"
    ).fetchall()
    return {
        "derived": int(derived),
        "missing": -int(missing),
        "other_sizes": int(original) - (int(claimed) - int(missing)),
    }
