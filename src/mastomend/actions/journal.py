"""The record of every change, written and synced before the change is made.

A *run* is one changing command. Before anything is done the journal holds the *plans*: each with its subject, the verdict it
leads to, its rule and all its actions; then each action is ticked off when it is done, and each plan is closed with what
became of it. What a crash leaves is therefore always a plan with some ticks missing, and looking at the world tells which
of those happened (`recovery`).

Plans are numbered within their run, so two plans for one record stay two. A run that undoes another gives each of its plans
the number of the plan it takes back; their order is that in which they were written. Ticks and outcomes are written in their
order behind what is waited for; a crash that takes the last of them leaves a plan that is found to be done.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from mastomend.actions.actions import ACTION_NAMES, IRREVERSIBLE, Action, from_json, to_json
from mastomend.actions.journal_file import PAGE, JournalFile, Statement
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.standing import FAMILY, has_done, is_final, is_left, stands
from mastomend.errors import JournalError
from mastomend.mastodon.keys import Key
from mastomend.outcomes import Outcome, verdict_json, verdict_of
from mastomend.vocabulary import Done, ObjectAt, RowOf, Subject

#: `kind` and `id` of a row, `key` of an object; the others are empty. `subject` and `verdict` are JSON.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY, command TEXT NOT NULL, scope TEXT NOT NULL, scan TEXT, started_at TEXT NOT NULL,
  finished_at TEXT, summary TEXT, undoes TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS plans (
  run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, key TEXT NOT NULL,
  subject TEXT NOT NULL, verdict TEXT NOT NULL, rule TEXT NOT NULL, part INTEGER NOT NULL,
  closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, number)
) STRICT;
CREATE TABLE IF NOT EXISTS steps (
  run TEXT NOT NULL, plan INTEGER NOT NULL, position INTEGER NOT NULL, action TEXT NOT NULL, done_at TEXT,
  PRIMARY KEY (run, plan, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcomes (
  run TEXT NOT NULL, kind TEXT NOT NULL, id INTEGER NOT NULL, key TEXT NOT NULL, part INTEGER NOT NULL,
  subject TEXT NOT NULL, verdict TEXT NOT NULL, PRIMARY KEY (run, kind, id, key, part)
) STRICT;
CREATE INDEX IF NOT EXISTS open_plans ON plans (run) WHERE closed = 0;
CREATE INDEX IF NOT EXISTS plans_of_a_row ON plans (run, id) WHERE key = '';
"""

#: What `PRAGMA user_version` says. Raise it with every action or column an older Mastomend would not understand; what this one
#: understands begins with `OLDEST`.
OLDEST, VERSION = 2, 3

#: Of later plans that stand and are about the row of `p` (kinds of one table share rows), whether one is of its kind.
_FOLLOWED = f"""
CASE WHEN p.key = '' THEN (SELECT max(q.kind = p.kind) FROM plans q
                       WHERE q.run = p.run AND q.id = p.id AND q.key = '' AND q.rowid > p.rowid
                       AND substr(q.kind || '/', 1, instr(q.kind || '/', '/'))
                           = substr(p.kind || '/', 1, instr(p.kind || '/', '/'))
                       AND {is_left("q")} AND {has_done("q")}) END
"""


@dataclass(frozen=True, slots=True)
class JournaledRun:
    """One changing command. `finished_at` None means it is running or was cut off."""

    id: str
    command: str
    scope: str
    scan: str | None
    started_at: str
    finished_at: str | None
    summary: dict[str, Any]
    undoes: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A plan as the journal holds it: its number and the positions of what is ticked off.

    `is_followed`: a later plan of the same run is about the same row, and is to be taken back, too; `is_replaced`: it is about
    the same files.
    """

    number: int
    plan: Plan
    done: frozenset[int]
    is_followed: bool = False
    is_replaced: bool = False

    @property
    def performed(self) -> list[Action]:
        """The actions that are ticked off, in order."""
        return [action for position, action in enumerate(self.plan.actions) if position in self.done]


class Journal(JournalFile):
    """The journal in a state directory."""

    def __init__(self, state: Path) -> None:
        super().__init__(state, _SCHEMA, (OLDEST, VERSION))

    # --- writing --------------------------------------------------------------------------------------------------

    def begin(self, run: str, command: str, scope: str, *, scan: str | None, undoes: str | None = None) -> None:
        """A run starts."""
        self.commit(
            (
                "INSERT INTO runs (id, command, scope, scan, started_at, undoes) VALUES (?, ?, ?, ?, ?, ?)",
                (run, command, scope, scan, _now(), undoes),
            )
        )

    def finish(self, run: str, summary: dict[str, Any]) -> None:
        """A run is over: everything it planned is done or has an outcome."""
        self.commit(
            ("UPDATE runs SET finished_at = ?, summary = ? WHERE id = ?", (_now(), json.dumps(summary), run)),
        )

    def plan(self, run: str, plans: Sequence[tuple[int, Plan]]) -> None:
        """All actions of those plans, with their numbers, before the first of them is done: one commit."""
        self.commit(*(statement for number, plan in plans for statement in _planned(run, number, plan)))

    def done(self, run: str, ticks: Sequence[tuple[int, int]]) -> None:
        """Those actions (plan, position) have been done."""
        now = _now()
        sql = "UPDATE steps SET done_at = ? WHERE run = ? AND plan = ? AND position = ?"
        self.note(*((sql, (now, run, number, position)) for number, position in ticks))

    def outcome(self, run: str, *outcomes: tuple[Done, Sequence[int]]) -> None:
        """What became of subjects; the plans that came to it, by their numbers, are closed."""
        self.note(*(statement for done, numbers in outcomes for statement in _closed(run, done, numbers)))

    def rolled_back(self, run: str, number: int) -> None:
        """What the plan had done is taken back: none of its actions count any more."""
        self.commit(("UPDATE steps SET done_at = NULL WHERE run = ? AND plan = ?", (run, number)))

    def abandon(self, run: str, number: int) -> None:
        """A plan that will not be finished; its subject has no outcome and may be planned again."""
        self.commit(("UPDATE plans SET closed = 1 WHERE run = ? AND number = ?", (run, number)))

    # --- reading --------------------------------------------------------------------------------------------------

    def runs(self) -> list[JournaledRun]:
        """All runs, newest first."""
        rows = self.query("SELECT * FROM runs ORDER BY started_at DESC, id DESC")
        return [
            JournaledRun(
                row["id"],
                row["command"],
                row["scope"],
                row["scan"],
                row["started_at"],
                row["finished_at"],
                json.loads(row["summary"] or "{}"),
                row["undoes"],
            )
            for row in rows
        ]

    def highest(self, run: str) -> int:
        """The number of the run's last plan; 0 if it has none."""
        return int(self.query("SELECT coalesce(max(number), 0) AS n FROM plans WHERE run = ?", (run,))[0]["n"])

    def unsettled(self) -> list[str]:
        """Runs with plans that were begun and not closed, the oldest first: they are at work, or a crash ended them."""
        return [row["run"] for row in self.query("SELECT DISTINCT run FROM plans WHERE closed = 0 ORDER BY run")]

    def open_plans(self, run: str) -> list[Kept]:
        """Its plans that were begun and not closed."""
        return self._plans(run, "run = ? AND closed = 0", (run,))

    def plans(self, run: str, *, newest_first: bool = False, but_taken_back: bool = False) -> Iterator[Kept]:
        """All plans of a run with at least one action done, in the order they were made, or the other way round.

        Some at a time, so that others may write for as long as this takes. `but_taken_back` leaves out what does not stand, and
        what an undo of the run has decided about that has not ended.
        """
        (span,) = self.query("SELECT min(rowid) AS first, max(rowid) AS last FROM plans WHERE run = ?", (run,))
        pages = range(span["first"] or 0, (span["last"] or -1) + 1, PAGE)
        left = f" AND {is_left('plans')}" if but_taken_back else ""
        for start in reversed(pages) if newest_first else pages:
            page = self._plans(run, f"run = ? AND rowid BETWEEN ? AND ?{left}", (run, start, start + PAGE - 1))
            changed = [kept for kept in page if kept.done]
            yield from reversed(changed) if newest_first else changed

    def changed(self, run: str) -> int:
        """How many plans of a run have at least one action done."""
        sql = "SELECT count(DISTINCT plan) AS n FROM steps WHERE run = ? AND done_at IS NOT NULL"
        return int(self.query(sql, (run,))[0]["n"])

    def standing(self, run: str) -> int:
        """How many plans of a run have an action done and stand: no undo has taken them back, or was taken back itself. What
        nothing takes back is not among them once an undo has found that out.
        """
        sql = (
            f"{FAMILY} SELECT count(*) AS n FROM plans "
            f"WHERE run = ? AND {stands('plans')} AND NOT {is_final('plans')} AND {has_done('plans')}"
        )
        return int(self.query(sql, (run, run))[0]["n"])

    def irreversible(self, run: str) -> int:
        """How many of its plans have done something that nothing takes back."""
        names = ", ".join("?" for _ in IRREVERSIBLE)
        sql = (
            "SELECT count(DISTINCT plan) AS n FROM steps WHERE run = ? AND done_at IS NOT NULL "
            f"AND json_extract(action, '$.action') IN ({names})"
        )
        return int(self.query(sql, (run, *IRREVERSIBLE))[0]["n"])

    def columns_set(self, run: str) -> list[tuple[str, str]]:
        """Every column (table, column) it has changed somewhere."""
        sql = (
            "SELECT DISTINCT json_extract(s.action, '$.table') AS t, c.key AS c FROM steps s, json_each(s.action, '$.after') c "
            "WHERE s.run = ? AND s.done_at IS NOT NULL"
        )  # only SetColumns has those; how a file is served has no table
        return [(row["t"], row["c"]) for row in self.query(sql, (run,)) if row["t"]]

    def actions_done(self, run: str) -> Counter[str]:
        """How many actions of each type a run has done; their names as in `actions.to_json`."""
        rows = self.query(
            "SELECT json_extract(action, '$.action') AS name, count(*) AS n FROM steps "
            "WHERE run = ? AND done_at IS NOT NULL GROUP BY name",
            (run,),
        )
        for row in rows:
            if row["name"] not in ACTION_NAMES:
                raise _unknown(str(row["name"]))
        return Counter({row["name"]: row["n"] for row in rows})

    def decided(self, run: str) -> Iterator[tuple[str, int]]:
        """Rows that already have an outcome in that run."""
        for row in self.stream("SELECT kind, id FROM outcomes WHERE run = ? AND key = ''", (run,)):
            yield row["kind"], row["id"]

    def outcomes(self, run: str) -> Iterator[Done]:
        """Everything that became of subjects in a run."""
        for row in self.stream("SELECT * FROM outcomes WHERE run = ? ORDER BY kind, id, key, part", (run,)):
            try:
                yield Done(_subject(row), verdict_of(json.loads(row["verdict"])), row["part"])
            except (ValueError, KeyError, TypeError):
                raise _unknown(row["verdict"]) from None

    def outcome_counts(self, run: str) -> Counter[Outcome]:
        """How many subjects of a run came to which outcome."""
        rows = self.query(
            "SELECT json_extract(verdict, '$.outcome') AS name, count(*) AS n FROM outcomes WHERE run = ? GROUP BY name",
            (run,),
        )
        return Counter({Outcome(row["name"]): row["n"] for row in rows})

    def reason_counts(self, run: str) -> Counter[tuple[Outcome, str]]:
        """How many subjects of a run came to which outcome for which reason."""
        rows = self.query(
            "SELECT json_extract(verdict, '$.outcome') AS name, json_extract(verdict, '$.reason') AS reason, count(*) AS n "
            "FROM outcomes WHERE run = ? GROUP BY name, reason",
            (run,),
        )
        return Counter({(Outcome(row["name"]), row["reason"]): row["n"] for row in rows})

    def _plans(self, run: str, condition: str, parameters: Sequence[object]) -> list[Kept]:
        """Those plans of a run, in the order they were made, with all their steps."""
        columns = "p.number, p.kind, p.id, p.key, p.subject, p.verdict, p.rule, p.part, s.position, s.action, s.done_at"
        sql = (
            f"{FAMILY} SELECT {columns}, {_FOLLOWED} AS followed FROM (SELECT rowid, * FROM plans WHERE {condition}) p "
            "LEFT JOIN steps s ON s.run = p.run AND s.plan = p.number ORDER BY p.rowid, s.position"
        )
        rows = self.query(sql, (run, *parameters))
        return [_kept(list(of_one)) for _, of_one in groupby(rows, key=lambda row: row["number"])]


def _planned(run: str, number: int, plan: Plan) -> Iterator[Statement]:
    yield (
        "INSERT INTO plans (run, number, kind, id, key, subject, verdict, rule, part) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (run, number, *_named(plan.subject), json.dumps(verdict_json(plan.verdict)), plan.rule.value, plan.part),
    )
    for position, action in enumerate(plan.actions):
        yield (
            "INSERT INTO steps (run, plan, position, action) VALUES (?, ?, ?, ?)",
            (run, number, position, json.dumps(to_json(action))),
        )


def _closed(run: str, done: Done, numbers: Sequence[int]) -> Iterator[Statement]:
    kind, id_, key, subject = _named(done.subject)
    yield (
        "INSERT OR REPLACE INTO outcomes (run, kind, id, key, part, subject, verdict) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (run, kind, id_, key, done.part, subject, json.dumps(verdict_json(done.verdict))),
    )
    for number in numbers:
        yield "UPDATE plans SET closed = 1 WHERE run = ? AND number = ?", (run, number)


def _named(subject: Subject) -> tuple[str, int, str, str]:
    """`kind`, `id`, `key` and the JSON of what else is told of it."""
    match subject:
        case RowOf(kind, id_, is_local, domain, remote_url):
            told = {"is_local": is_local, "domain": domain, "remote_url": remote_url}
            return kind, id_, "", json.dumps({name: value for name, value in told.items() if value})
        case ObjectAt(key):
            return "", 0, key, "{}"


def _subject(row: sqlite3.Row) -> Subject:
    if row["key"]:
        return ObjectAt(Key(row["key"]))
    return RowOf(row["kind"], row["id"], **json.loads(row["subject"]))


def _kept(rows: Sequence[sqlite3.Row]) -> Kept:
    first, steps = rows[0], [row for row in rows if row["position"] is not None]
    try:
        verdict, rule = verdict_of(json.loads(first["verdict"])), Rule(first["rule"])
        plan = Plan(_subject(first), verdict, tuple(_action(row["action"]) for row in steps), rule, first["part"])
    except (ValueError, KeyError, TypeError):
        raise _unknown(first["verdict"]) from None
    done = frozenset(row["position"] for row in steps if row["done_at"] is not None)
    return Kept(first["number"], plan, done, first["followed"] is not None, bool(first["followed"]))


def _action(text: str) -> Action:
    try:
        return from_json(json.loads(text))
    except (ValueError, KeyError, TypeError):
        raise _unknown(text) from None


def _unknown(text: str) -> JournalError:
    return JournalError(
        f"The journal holds a change this Mastomend does not understand: {text[:120]}",
        hint="Was it written by a newer Mastomend? Update this one. Nothing was changed.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
