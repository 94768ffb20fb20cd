"""Which plans of a run stand, in the journal's own language: undos take back plan by plan, and may be cut off anywhere.

A run, what took it back, and what took that back, are one family. Of each plan what was done last counts: outcomes are written
in the order in which things were done.
"""

from __future__ import annotations

from mastomend.reasons import Reason

#: The family of the run that is asked for (the one parameter): `steps` is how often what it did is taken back and done again
#: on the way down to a run below it; -1 for a run beside it. `undos` are the undos of that run itself. Below, each plan looks
#: its own outcomes up, run by run (CROSS JOIN: in that order); a journal may hold millions.
FAMILY = """
WITH RECURSIVE asked (id) AS (SELECT ?),
  above (id, undoes) AS (
    SELECT asked.id, (SELECT undoes FROM runs r WHERE r.id = asked.id) FROM asked
    UNION SELECT r.id, r.undoes FROM runs r JOIN above a ON r.id = a.undoes),
  family (id, steps) AS (
    SELECT a.id, CASE WHEN a.id = asked.id THEN 0 ELSE -1 END FROM above a, asked
    WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = a.undoes)
    UNION SELECT r.id, CASE WHEN r.id = asked.id THEN 0 WHEN f.steps < 0 THEN -1 ELSE f.steps + 1 END
    FROM runs r JOIN family f ON r.undoes = f.id, asked),
  undos (id, finished_at) AS (SELECT r.id, r.finished_at FROM runs r, asked WHERE r.undoes = asked.id)
"""


def _of_plan(plan: str) -> str:
    """That an outcome is about that plan (a table's alias)."""
    return f"o.kind = {plan}.kind AND o.id = {plan}.id AND o.key = {plan}.key AND o.part = {plan}.number"


def stands(plan: str) -> str:
    """That the world is as its run left it in that plan (an alias of `plans`), as far as undos know: the last that was done to
    it was that run's own, or took that back which took it back.
    """
    return (
        f"coalesce((SELECT f.steps FROM family f CROSS JOIN outcomes o ON o.run = f.id AND {_of_plan(plan)} "  # noqa: S608 - constants
        f"WHERE json_extract(o.verdict, '$.reason') = '{Reason.UNDONE}' ORDER BY o.rowid DESC LIMIT 1), 0) % 2 = 0"
    )


def _by_undo(plan: str, condition: str) -> str:
    """That an undo (`u`) of the run has an outcome (`o`) about that plan of which that is true."""
    return (
        f"EXISTS (SELECT 1 FROM undos u CROSS JOIN outcomes o ON o.run = u.id AND {_of_plan(plan)} "  # noqa: S608 - constants
        f"WHERE {condition})"
    )


def is_left(plan: str) -> str:
    """That it stands, and no undo of its run that has not ended has decided about it."""
    return f"{stands(plan)} AND NOT {_by_undo(plan, 'u.finished_at IS NULL')}"


def is_final(plan: str) -> str:
    """That an undo has found that nothing takes it back."""
    return _by_undo(plan, f"json_extract(o.verdict, '$.reason') = '{Reason.IRREVERSIBLE}'")


def has_done(plan: str) -> str:
    """That an action of it is ticked off."""
    return (
        f"EXISTS (SELECT 1 FROM steps s WHERE s.run = {plan}.run AND s.plan = {plan}.number "  # noqa: S608 - constants
        "AND s.done_at IS NOT NULL)"
    )
