"""What is cached, what ties it to people here, and what is worth least: sums and verdicts over a scan, in the database engine.

A *unit* is what goes together: an attachment with its thumbnail, an avatar, a header, a card's picture, an emoji's. A unit
stays while a relationship keeps it, each for its own term; the others go when nothing has used them for an age, and, where a
budget asks for more, the least valuable first. Value is a score of parts a person can add up (`SCORE`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mastomend.inventory.workspace import Workspace
from mastomend.mastodon.columnar import quote
from mastomend.mastodon.relationships import Of, relationships

DAY = 86_400
#: For ever, in seconds since 1970 and as a term.
FOREVER = 2**62

#: What keeps a unit besides relationships: there is no address it could come from again, its server is known to be out of
#: reach, its account is suspended (Mastodon removes that itself).
NO_ADDRESS, UNREACHABLE, SUSPENDED = "no_address", "unreachable", "suspended"
#: A file of it may not be looked at: what is there is not known.
UNSEEN = "unseen"
#: Terms of relationships that do not keep for ever, in days.
_TERMS = {"thread": 365, "followed_tag": 90, "noticed": 365}
#: Those that are about the post's author, too.
FOLLOWED = "followed"


def default_terms() -> dict[str, int]:
    """How long each relationship keeps, in seconds, from the tie or the last use, whichever is later."""
    names = (*relationships(), UNREACHABLE)
    return {name: _TERMS[name] * DAY if name in _TERMS else FOREVER for name in names if name != SUSPENDED}


@dataclass(frozen=True, slots=True)
class Policy:
    """What may go. Terms are seconds: `ages` by unit, from the last use (a unit without one does not age); `strangers` of
    posts by accounts nobody here follows; `keep` by relationship; `domains` for a server with its subdomains, instead of ages.

    Bytes: `budgets` by unit; `budget` of all units together; `to_free` are to go whatever the budgets.
    """

    ages: Mapping[str, int] = field(default_factory=dict)
    strangers: int | None = None
    keep: Mapping[str, int] = field(default_factory=default_terms)
    domains: Mapping[str, int] = field(default_factory=dict)
    budgets: Mapping[str, int] = field(default_factory=dict)
    budget: int | None = None
    to_free: int = 0

    @property
    def has_age(self) -> bool:
        """Whether anything goes by its age."""
        return bool(self.ages or self.domains) or self.strangers is not None

    @property
    def has_budget(self) -> bool:
        """Whether more may have to go than what is old."""
        return bool(self.budgets) or self.budget is not None or self.to_free > 0

    def keeps_until(self, relationship: str, at: int | None, used: int) -> int:
        """Until when that tie keeps what was used then; seconds since 1970."""
        term = FOREVER if relationship == SUSPENDED else self.keep[relationship]
        return FOREVER if term >= FOREVER else max(used, at or 0) + term


def judge(work: Workspace, policy: Policy, now: int) -> None:
    """The relation `judged`: `cached` with `kept` (why it stays, or NULL), `was_tied`, `follows`, `age` (its term in seconds,
    NULL: it does not age), `score` and `goes` (`age`, `budget` or NULL).
    """
    connection = work.connection
    connection.execute("CREATE OR REPLACE TABLE terms (relationship VARCHAR, term BIGINT)")
    terms = {**policy.keep, SUSPENDED: FOREVER}
    connection.executemany("INSERT INTO terms VALUES (?, ?)", [list(one) for one in terms.items()])
    connection.execute(f"CREATE OR REPLACE TABLE valued AS {_valued_sql(policy, now)}")
    _decide(work, policy, now)


def _tied_sql() -> str:
    """Each unit's ties: `unit, id, relationship, since`."""
    ways = [
        f"SELECT c.unit, c.id, t.relationship, t.since FROM ties t JOIN cached c ON c.{column} = t.id "
        f"WHERE t.tied = {quote(of.value)} AND c.unit IN ({', '.join(map(quote, units))})"
        for of, column, units in (
            (Of.POST, "post", ["attachments"]),
            (Of.ACCOUNT, "id", ["avatars", "headers"]),
            (Of.CARD, "id", ["preview_cards"]),
            (Of.EMOJI, "id", ["emojis"]),
        )
    ]
    ways.append(
        f"SELECT c.unit, c.id, t.relationship, t.since FROM ties t JOIN cached c ON c.account = t.id "
        f"WHERE t.tied = {quote(Of.ACCOUNT.value)} AND c.unit = 'attachments' AND t.relationship = {quote(SUSPENDED)}"
    )
    return " UNION ALL ".join(ways)


def _card_ties() -> str:
    return (
        "SELECT 'preview_cards' AS unit, p.card AS id, t.relationship, t.since FROM ties t JOIN card_posts p ON p.post = t.id "
        f"WHERE t.tied = {quote(Of.POST.value)}"
    )


def _valued_sql(policy: Policy, now: int) -> str:
    until = f"CASE WHEN m.term >= {FOREVER} THEN {FOREVER} ELSE greatest(c.used, coalesce(t.since, 0)) + m.term END"
    return f"""
        WITH tied AS (
            SELECT unit, id, relationship, max(since) AS since FROM ({_tied_sql()} UNION ALL {_card_ties()}) GROUP BY ALL
        ),
        bound AS (
            SELECT t.unit, t.id, max({until}) AS until, arg_max(t.relationship, ({until}, t.relationship)) AS relationship
            FROM tied t JOIN cached c USING (unit, id) JOIN terms m USING (relationship) GROUP BY ALL
        ),
        followed AS (SELECT DISTINCT id FROM ties WHERE tied = {quote(Of.ACCOUNT.value)} AND relationship = {quote(FOLLOWED)}),
        servers AS (SELECT domain, count(*) AS units FROM cached GROUP BY domain),
        stands AS (
            SELECT c.*, b.relationship IS NOT NULL AS was_tied, f.id IS NOT NULL AS follows, s.units AS of_server,
                CASE WHEN c.hidden > 0 THEN {quote(UNSEEN)}
                    WHEN b.until > {now} THEN b.relationship
                    WHEN NOT c.fetchable THEN {quote(NO_ADDRESS)}
                    WHEN u.domain IS NOT NULL AND {policy.keep.get(UNREACHABLE, 0)} > {now} - c.used
                    THEN {quote(UNREACHABLE)} END AS kept
            FROM cached c LEFT JOIN bound b USING (unit, id) LEFT JOIN followed f ON f.id = c.account
            LEFT JOIN unreachable u ON u.domain = c.domain LEFT JOIN servers s ON s.domain IS NOT DISTINCT FROM c.domain
        )
        SELECT *, {_age_sql(policy)} AS age, ({_score_sql(now)})::BIGINT AS score FROM stands
    """


def _age_sql(policy: Policy) -> str:
    """How long after its last use a unit goes; the shortest of what applies, but a server's own term before all."""
    cases = [
        f"WHEN domain = {quote(one)} OR ends_with(domain, {quote('.' + one)}) THEN {term}"
        for one, term in sorted(policy.domains.items(), key=lambda item: -len(item[0]))
    ]
    for unit, term in policy.ages.items():
        if policy.strangers is not None and unit == "attachments":
            shorter = min(policy.strangers, term)
            cases.append(f"WHEN unit = 'attachments' AND NOT follows AND NOT was_tied THEN {shorter}")
        cases.append(f"WHEN unit = {quote(unit)} THEN {term}")
    if policy.strangers is not None and "attachments" not in policy.ages:
        cases.append(f"WHEN unit = 'attachments' AND NOT follows AND NOT was_tied THEN {policy.strangers}")
    return f"CASE {' '.join(cases)} END::BIGINT" if cases else "NULL::BIGINT"


#: The parts of a score, each with its most points: what they are for people.
SCORE: Mapping[str, tuple[int, str]] = {
    "relationship": (30, "somebody here touched it once (30), or follows whoever made it (15)"),
    "last use": (40, "40 today, half of that with each 30 days"),
    "last view": (10, "the access log has seen it"),
    "return": (15, "15 for what does not come back when somebody looks: all but attachments"),
    "size": (10, "10 for the smallest; the more room it takes, the fewer"),
    "origin": (10, "10 for the smallest servers, which would have to send it again; 5 at a hundred cached files"),
}


def _score_sql(now: int) -> str:
    return (
        "round(CASE WHEN was_tied THEN 30 WHEN follows THEN 15 ELSE 0 END"
        f" + 40 * pow(0.5, ({now} - used) / {30.0 * DAY})"
        " + CASE WHEN looked IS NOT NULL THEN 10 ELSE 0 END"
        " + CASE WHEN unit <> 'attachments' THEN 15 ELSE 0 END"
        " + 10 - least(10, log2(1 + bytes / 65536.0))"
        " + 10 / (1 + coalesce(of_server, 0) / 100.0))"
    )


def _decide(work: Workspace, policy: Policy, now: int) -> None:
    """First what is old; then, where a budget asks for more, what is worth least, budget by budget."""
    work.connection.execute(
        "CREATE OR REPLACE TABLE judged AS SELECT *, "
        f"CASE WHEN kept IS NULL AND {now} - used > age THEN 'age' END AS goes FROM valued"
    )
    for unit, most in policy.budgets.items():
        _fit(work, f"unit = {quote(unit)}", most)
    if policy.budget is not None:
        _fit(work, "true", policy.budget)
    if policy.to_free:
        ((total,),) = work.connection.execute("SELECT coalesce(sum(bytes), 0) FROM judged").fetchall()
        _fit(work, "true", max(0, int(total) - policy.to_free))


#: The order in which units go: what is worth least, then what was used longest ago.
ORDER = "score, used, unit, id"


def _fit(work: Workspace, which: str, most: int) -> None:
    """Of what those units have left, the least valuable goes until so many bytes are left; no more of them than it takes."""
    connection = work.connection
    ((left,),) = connection.execute(
        f"SELECT coalesce(sum(bytes), 0) FROM judged WHERE {which} AND goes IS NULL"
    ).fetchall()
    if (excess := int(left) - most) <= 0:
        return
    connection.execute(
        f"""
        CREATE OR REPLACE TABLE going AS SELECT unit, id FROM (
            SELECT unit, id, sum(bytes) OVER (ORDER BY {ORDER} ROWS UNBOUNDED PRECEDING) - bytes AS before
            FROM judged WHERE {which} AND goes IS NULL AND kept IS NULL AND bytes > 0
        ) WHERE before < {excess}
        """
    )
    connection.execute(
        "UPDATE judged SET goes = 'budget' FROM going WHERE judged.unit = going.unit AND judged.id = going.id"
    )
