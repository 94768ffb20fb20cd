"""A server that is live during the scan gives no false alarms: a writer uploads, replaces, evicts and deletes meanwhile.

The writer does what Mastodon does, in its order (facts §6.1, §8.2): inside the row's transaction the old files go before
the new ones come; a deleted record's files go after its commit; the vacuum removes files and only then empties columns.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path

import psycopg
import pytest
from broken import record
from conftest import MakeInstance, opened
from psycopg.rows import dict_row

from mastomend.commands.check import check
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.inventory.findings import load
from mastomend.mastodon.keys import Record, expected_files
from mastomend.mastodon.kinds import AVATARS

SCANS = 6


class Writer(threading.Thread):
    """Mastodon at work, on a connection of its own."""

    def __init__(self, instance: SimulatedInstance, ids: list[int], data: bytes) -> None:
        super().__init__(name="writer")
        self.instance, self.ids, self.data = instance, ids, data
        self.stop = threading.Event()
        self.changes = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        info = self.instance.db.info
        try:
            with psycopg.connect(
                host=info.host, user=info.user, dbname=info.dbname, autocommit=True, row_factory=dict_row
            ) as db:
                chance = random.Random(5)
                while not self.stop.is_set():
                    self.change(db, chance.choice(self.ids), chance.choice(["replace", "replace", "evict", "delete"]))
                    self.changes += 1
        except BaseException as error:
            self.failure = error

    def keys(self, record_id: int, name: str) -> list[str]:
        record = Record(record_id, False, name, "image/png", len(self.data), 1)
        return [f.key for f in expected_files(AVATARS, record)]

    def change(self, db: psycopg.Connection[dict[str, object]], record_id: int, what: str) -> None:
        row = db.execute("SELECT avatar_file_name AS name FROM accounts WHERE id = %s", [record_id]).fetchone()
        old = None if row is None else row["name"]
        new = self.instance.name("png")
        match what:
            case "replace" if row is not None:
                with db.transaction():
                    db.execute(
                        "UPDATE accounts SET avatar_file_name = %s, avatar_content_type = 'image/png', "
                        "avatar_file_size = %s, avatar_storage_schema_version = 1 WHERE id = %s",
                        [new, len(self.data), record_id],
                    )
                    for key in self.keys(record_id, str(old)) if old else []:
                        self.instance.media.delete(key)
                    self.stop.wait(0.01)  # the upload takes a while
                    for key in self.keys(record_id, new):
                        self.instance.media.write(key, self.data)
            case "evict" if old:
                for key in self.keys(record_id, str(old)):
                    self.instance.media.delete(key)
                self.stop.wait(0.01)
                db.execute("UPDATE accounts SET avatar_file_name = NULL WHERE id = %s", [record_id])
            case "delete" if row is not None and len(self.ids) > 50:
                db.execute("DELETE FROM accounts WHERE id = %s", [record_id])
                self.ids.remove(record_id)
                for key in self.keys(record_id, str(old)) if old else []:
                    self.instance.media.delete(key)


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_no_false_alarms_on_a_live_server(make_instance: MakeInstance, storage: str) -> None:
    instance = make_instance("4.5", storage)
    Path(instance.folder / "mastomend.toml").write_text("settle_seconds = 0.3\n")
    data = picture(1, 40, 400)
    ids = []
    for n in range(150):
        made = record(instance, AVATARS, data, remote_url="https://live.example/x", domain="live.example", name=f"u{n}")
        ids.append(made.id)
    _, lost = instance.add_image(AVATARS, data, domain="lost.example", username="lost", uri="x:lost")
    instance.media.delete(lost[0])
    writer = Writer(instance, ids, data)
    writer.start()
    try:
        for _ in range(SCANS):
            report = check(opened(instance))
            assert [f.key for f in load(report.findings)] == lost, "only what is really lost"
            assert report.unsettled <= 2
    finally:
        writer.stop.set()
        writer.join()
    assert writer.failure is None
    assert writer.changes > 50, "the writer was busy throughout"
