"""Which plans of a run stand, in the journal's own language: undos take back plan by plan, and may be cut off anywhere.

A run, what took it back, and what took that back, are one family. Of each plan what was done last counts: outcomes are written
in the order in which things were done.
"""

from __future__ import annotations

from mastomend.reasons import Reason

#: The family of the run that is asked for (the one parameter): `steps` is how often what it did is taken back and done again
#: on the way down to a run below it; -1 for a run beside it.
FAMILY = """
WITH RECURSIVE asked (id) AS (SELECT ?),
  above (id, undoes) AS (
    SELECT asked.id, (SELECT undoes FROM runs r WHERE r.id = asked.id) FROM asked
    UNION SELECT r.id, r.undoes FROM runs r JOIN above a ON r.id = a.undoes),
  family (id, steps) AS (
    SELECT a.id, CASE WHEN a.id = asked.id THEN 0 ELSE -1 END FROM above a, asked
    WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = a.undoes)
    UNION SELECT r.id, CASE WHEN r.id = asked.id THEN 0 WHEN f.steps < 0 THEN -1 ELSE f.steps + 1 END
    FROM runs r JOIN family f ON r.undoes = f.id, asked)
"""

#: That an outcome is about one of `plans`.
_OF_PLAN = "o.kind = plans.kind AND o.id = plans.id AND o.key = plans.key AND o.part = plans.number"

#: That the world is as the run left it in one of its `plans`, as far as undos know: the last that was done to it was the run's
#: own, or took that back which took it back.
STANDS = (
    f"coalesce((SELECT f.steps FROM family f JOIN outcomes o ON o.run = f.id AND {_OF_PLAN} "  # noqa: S608 - constants
    f"WHERE json_extract(o.verdict, '$.reason') = '{Reason.UNDONE}' ORDER BY o.rowid DESC LIMIT 1), 0) % 2 = 0"
)

_BY_UNDO = (
    f"EXISTS (SELECT 1 FROM runs u JOIN outcomes o ON o.run = u.id AND {_OF_PLAN} "  # noqa: S608 - constants
    "WHERE u.undoes = plans.run AND"
)
#: That an undo of the run which has not ended has decided about one of `plans`.
DECIDED = f"{_BY_UNDO} u.finished_at IS NULL)"
#: That an undo of the run has found that nothing takes one of `plans` back.
FINAL = f"{_BY_UNDO} json_extract(o.verdict, '$.reason') = '{Reason.IRREVERSIBLE}')"
