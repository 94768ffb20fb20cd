"""The pure functions and the columnar expressions agree, on millions of generated records."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import fields

import duckdb
import pytest

from mastomend.mastodon.columnar import expected_files_sql, scan_columns, styles
from mastomend.mastodon.keys import Record, expected_files, is_safe_name, parse_key
from mastomend.mastodon.kinds import HEIF_TYPES, KINDS, VIDEO_TYPES, Kind

#: Of each kind: with both prefixes more than a million in all; in `make soak` four times as many.
RECORDS = 240_000 if os.environ.get("MASTOMEND_SOAK") else 60_000
CONTENT_TYPES = sorted(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "audio/mpeg", "audio/ogg", "video/x-ms-asf", "image/x-icon",
     "application/zip", "text/csv", "", *HEIF_TYPES, *VIDEO_TYPES}
)  # fmt: skip
NAMES = ["0123456789abcdef.png", "0123456789abcdef.jpeg", "fedcba9876543210.gif", "a.tar.gz", "noextension", ".hidden",
         ".hidden.png", "..x", "ends.", "..", ".", "../up", "a/b", "sp ace.png", "üñí.webp", "q'uote.png", "%41#?.png", "...",
         "a..b", "x.MP4"]  # fmt: skip


def quoted(values: list[str]) -> str:
    return "[" + ", ".join("'" + v.replace("'", "''") + "'" for v in values) + "]"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_they_agree(kind: Kind) -> None:
    connection = duckdb.connect(":memory:")
    connection.execute("SELECT setseed(0.42)")
    connection.execute(
        f"""CREATE TABLE generated AS SELECT
        CASE WHEN n % 40 = 0 THEN -99 WHEN n % 41 = 0 THEN -1 - n % 200
             ELSE greatest(1, least(9223372036854775807::HUGEINT,
                  (power(10::DOUBLE, n % 19 + random()))::HUGEINT))::BIGINT END AS id,
        random() < 0.5 AS is_local,
        CASE WHEN random() < 0.7 THEN substr(md5(n::VARCHAR), 1, 16) || '.png'
             ELSE list_extract({quoted(NAMES)}, 1 + (random() * {len(NAMES) - 1})::INT) END AS file_name,
        CASE WHEN random() < 0.05 THEN NULL
             ELSE list_extract({quoted(CONTENT_TYPES)}, 1 + (random() * {len(CONTENT_TYPES) - 1})::INT) END AS content_type,
        CASE WHEN random() < 0.1 THEN NULL ELSE n::BIGINT END AS file_size,
        list_extract([NULL, 0, 1]::INT[], 1 + n % 3) AS version,
        list_extract([NULL, 'thumbnail', 'mascot', 'favicon', 'app_icon', 'other'], 1 + n % 6) AS var
        FROM range({RECORDS}) r(n)"""
    )
    digits = connection.execute("SELECT count(DISTINCT length(abs(id)::VARCHAR)) FROM generated").fetchone()
    assert digits == (19,), "every length of id occurs"
    columns = scan_columns(kind, {field.name: field.name for field in fields(Record)})
    as_read = f"SELECT id, {', '.join(f'{sql} AS {name}_0' for name, sql in columns.items())} FROM generated"
    names = styles([kind])
    checked = 0
    for prefix, few in (("", False), ("pre/fix", True)):
        result = connection.cursor().execute(
            f"SELECT n, id, key, expected_bytes FROM ({expected_files_sql([kind], f'({as_read})', prefix, few=few)})"
        )
        columnar: dict[tuple[int, str, str | None], int | None] = {}
        while rows := result.fetchmany(50_000):
            columnar.update({(id_, names[n][1], key): size for n, id_, key, size in rows})
        pure: dict[tuple[int, str, str | None], int | None] = {}
        occurrences: Counter[tuple[int, str, str | None]] = Counter()
        rows_of = connection.cursor().execute(
            "SELECT id, is_local, file_name, content_type, file_size, version, var FROM generated"
        )
        while records := rows_of.fetchmany(50_000):
            for values in records:
                record = Record(*values)
                if not is_safe_name(record.file_name):
                    pure[record.id, "original", None] = record.file_size
                    continue
                for file in expected_files(kind, record, prefix):
                    pure[record.id, file.style, file.key] = file.size
                    occurrences[record.id, file.style, file.key] += 1
                    checked += 1
        assert columnar.keys() == pure.keys()
        originals = {k: v for k, v in pure.items() if k[1] == "original" and k[2] is not None}
        once = {k for k in originals if occurrences[k] == 1}
        assert all(columnar[k] == originals[k] for k in once), "the recorded size goes with the original"
        assert all(columnar[k] is None for k in pure if k[1] != "original"), "and with nothing else"
    assert checked > RECORDS


def test_every_key_leads_back_to_its_record() -> None:
    connection = duckdb.connect(":memory:")
    ids = connection.execute(
        "SELECT greatest(1, least(9223372036854775807::HUGEINT, (power(10::DOUBLE, n % 19 + random()))::HUGEINT))::BIGINT "
        "FROM range(20000) r(n) UNION ALL SELECT -99"
    ).fetchall()
    for (record_id,) in ids:
        for kind in KINDS:
            for file in expected_files(kind, Record(record_id, False, "a.gif", "image/gif", 1, 1, "favicon")):
                parsed = parse_key(file.key)
                assert parsed is not None
                assert (parsed.kind, parsed.style) == (kind, file.style)
                assert any(low <= record_id <= high for low, high in parsed.ids)
