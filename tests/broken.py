"""The one builder of broken records: a row of any kind, its files, an origin that may still have them, and the damage."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from mastomend.demo.fediverse import Origin
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, Kind
from mastomend.outcomes import Outcome, OutcomeRow, Source

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Made:
    """A record that was made: its id and keys, `original` first, and the bytes its origin has."""

    kind: Kind
    id: int
    keys: tuple[str, ...]
    data: bytes
    name: str = ""

    @property
    def key(self) -> str:
        """Where its original belongs."""
        return self.keys[0]


def record(
    instance: SimulatedInstance,
    kind: Kind = AVATARS,
    data: bytes | None = None,
    *,
    origin: Origin | None = None,
    damage: str | None = None,
    name: str | None = None,
    row: Mapping[str, object] | None = None,
    **columns: object,
) -> Made:
    """A record; remote if it has an origin (which then serves `data` at `/NAME`), else local.

    `row` holds further columns, as `columns` does. `damage` is what happened to its original: `missing`, `empty`,
    `truncated`, or None.
    """
    number = next(_numbers)
    name, data = name or f"r{number}", picture(number) if data is None else data
    values: dict[str, object] = {}
    if origin is not None:
        origin.files[f"/{name}"] = data
        values |= {"remote_url": origin.url(f"/{name}"), "domain": origin.domain}
    if kind.table == "accounts":
        values |= {"username": name.replace(".", "_"), "uri": f"x:{name}"}
    elif kind.table == "custom_emojis":
        values |= {"shortcode": name.replace(".", "_")}
    elif "domain" in values:
        del values["domain"]
    new, keys = instance.add_image(kind, data, **(values | dict(row or {}) | columns))  # type: ignore[arg-type]
    made = Made(kind, new, tuple(keys), data, name)
    if damage is not None:
        break_it(instance, made.key, damage)
    return made


def break_it(instance: SimulatedInstance, key: str, damage: str = "missing") -> None:
    """Damage one file."""
    match damage:
        case "missing":
            instance.media.delete(key)
        case "empty":
            instance.media.write(key, b"")
        case "truncated":
            instance.media.write(key, instance.files[key][:50])
        case _:
            raise ValueError(damage)


def keep_folders(instance: SimulatedInstance) -> None:
    """Something in the folder of every kind: then a single loss looks like a loss, not like a disk that is gone."""
    for key in list(instance.files):
        head, slash, rest = key.partition("/original/")
        if slash and rest:
            instance.media.write(f"{head.rpartition('/')[0].split('/0')[0].split('/1')[0]}/kept", b"x")


def table(sql: str) -> list[dict[str, Any]]:
    """All rows of a question to DuckDB, such as what a Parquet file holds."""
    with duckdb.connect(":memory:") as connection:
        found = connection.execute(sql)
        names = [column[0] for column in found.description]
        return [dict(zip(names, values, strict=True)) for values in found.fetchall()]


def outcomes(report: object) -> dict[int, OutcomeRow]:
    """What became of each record of a run, by id."""
    path = getattr(report, "report")  # noqa: B009 - of any report that has one
    rows = table(f"SELECT * FROM '{path}'")
    return {
        int(row["id"]): OutcomeRow(
            **{**row, "outcome": Outcome(row["outcome"]), "source": Source(row["source"]) if row["source"] else None}
        )
        for row in rows
    }
