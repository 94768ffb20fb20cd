"""`repair` against the simulated fediverse: every manner of origin, every image kind, on disk and in a bucket."""

from __future__ import annotations

from collections import Counter

import pytest
from broken import record, table
from conftest import MakeInstance, opened

from mastomend.commands.check import check
from mastomend.commands.history import history
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse, Manners, Origin
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import SafetyStop
from mastomend.images.decode import header
from mastomend.inventory.findings import load
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES, MEDIA_THUMBNAILS, Kind
from mastomend.outcomes import Outcome, Source

APPLY = RepairOptions(apply=True)


def add(
    instance: SimulatedInstance, origin: Origin, kind: Kind, data: bytes, name: str, **values: object
) -> tuple[int, list[str]]:
    """A remote record whose origin serves the bytes it was made from."""
    made = record(instance, kind, data, origin=origin, name=name, row=values)
    return made.id, list(made.keys)


@pytest.mark.parametrize("storage", ["disk", "s3"])
@pytest.mark.parametrize("version", ["4.2", "4.5", "4.6"])
def test_every_image_kind_is_whole_again(
    make_instance: MakeInstance, network: Fediverse, version: str, storage: str
) -> None:
    instance = make_instance(version, storage)
    origin = network.add("good.example")
    (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n[politeness]\nrate = 0\nper_host = 8\n")
    forms = {"png": picture(1), "jpeg": picture(2, 900, 700, "jpeg"), "gif": picture(3, 90, 60, "gif", 3)}
    keys: list[str] = []
    for form, data in forms.items():
        for kind in (AVATARS, HEADERS):
            keys += add(instance, origin, kind, data, f"{kind.attachment}.{form}")[1]
    for form, data in (("png", forms["png"]), ("gif", forms["gif"]), ("webp", picture(4, 50, 50, "webp"))):
        keys += add(instance, origin, EMOJIS, data, f"emoji.{form}")[1]
    for n, data in enumerate(
        (forms["jpeg"], picture(5, 700, 500, "webp"), picture(6, 80, 80, "gif"), picture(7, 300, 200, "avif"))
    ):
        keys += add(instance, origin, MEDIA_FILES, data, f"media{n}")[1]
    origin.files["/cover"] = forms["jpeg"]
    made = instance.produced(MEDIA_THUMBNAILS, forms["jpeg"])
    version_column = 1 if MEDIA_THUMBNAILS.version_column in instance.columns("media_attachments") else None
    columns = instance.attachment(MEDIA_THUMBNAILS, made, "cover.jpg", version_column)
    urls = {"remote_url": origin.url("/video"), "thumbnail_remote_url": origin.url("/cover"), "type": 4}
    new = instance.insert("media_attachments", **urls, **columns)
    from mastomend.mastodon.keys import Record

    record = Record(new, False, "cover.jpg", made.content_type, len(made.original), version_column)
    keys += instance.store(MEDIA_THUMBNAILS, record, made.files)

    rows_before = snapshot(instance)
    for n, key in enumerate(keys):
        if n % 4 == 0 and "/original/" in key:
            continue  # a surviving original: its other styles come from it
        if n % 3 == 2 and "/original/" in key:
            instance.media.write(key, instance.files[key][:50])
        elif n % 3 == 1:
            instance.media.write(key, b"")
        else:
            instance.media.delete(key)
    plan = repair(opened(instance), RepairOptions(max_missing_percent=100))
    assert (plan.applied, plan.plan.total(), plan.outcomes) == (False, plan.records, Counter())
    assert plan.plan["origin"] > plan.plan["original"] >= 1, "what the original still gives is not asked for"
    assert not network.requests, "a dry run asks nobody"
    report = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
    assert report.records == plan.records == report.outcomes[Outcome.RESTORED]
    assert report.sources[Source.ORIGINAL] == plan.plan["original"]
    assert report.sources[Source.ORIGIN] == plan.plan["origin"] == len(network.requests)
    for key in keys:
        held, stored = instance.media.read(key), instance.files[key]
        if held != stored:  # a still made from a resized animation differs in a shade, never in size or type
            assert "/static/" in key and held is not None and header(held) == header(stored), key
    assert snapshot(instance) == rows_before, "the bytes are the same, so no row needs to change"
    assert check(opened(instance)).broken == 0
    assert set(network.fetched().values()) == {1}, "each file is fetched once"
    assert all(r.user_agent.startswith("Mastomend/") and r.accept is None for r in network.requests)


def snapshot(instance: SimulatedInstance) -> list[object]:
    """All rows with media, as text."""
    tables = ("accounts", "media_attachments", "custom_emojis")
    return [instance.db.execute(f"SELECT t::text FROM {t} t ORDER BY id").fetchall() for t in tables]


def test_manners_become_outcomes_with_reasons(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    settings = "settle_seconds = 0\n[politeness]\nrate = 50\nbackoff_s = 0.01\n"
    (instance.folder / "mastomend.toml").write_text(settings)
    expected = {
        Manners.GOOD: ("restored", "restored"),
        Manners.REDIRECTING: ("restored", "restored"),
        Manners.RATE_LIMITED: ("restored", "restored"),
        Manners.GONE: ("gone", "gone"),
        Manners.MOVED: ("gone", "not_found"),
        Manners.HTML: ("refused", "not_an_image"),
        Manners.PRIVATE_REDIRECT: ("refused", "private_address"),
        Manners.LOOPING: ("refused", "too_many_redirects"),
        Manners.HUGE: ("refused", "too_big"),
        Manners.BOMB: ("refused", "too_big"),
        Manners.BROKEN: ("deferred", "server_error"),
        Manners.CUT: ("deferred", "broken_off"),
    }
    for n, manners in enumerate(expected):
        origin = network.add(f"{manners.name.lower().replace('_', '-')}.example", manners)
        origin.refusals, origin.retry_after_s = 1, 0
        _, keys = add(instance, origin, AVATARS, picture(n), f"a{n}.png")
        if manners is Manners.MOVED:
            origin.files.clear()
        for key in keys:
            instance.media.delete(key)
    others = {"local": ("lost", "local"), "nourl": ("lost", "no_url")}
    _, keys = instance.add_image(AVATARS, picture(90), username="local", uri="x:local")
    instance.media.delete(keys[0])
    _, keys = instance.add_image(AVATARS, picture(91), username="nourl", uri="x:nourl", domain="nourl.example")
    instance.media.delete(keys[0])
    for name, block in (("rejecting", {"reject_media": True, "severity": 2}), ("suspended", {"severity": 1})):
        origin = network.add(f"media.{name}.example")
        instance.insert("domain_blocks", domain=f"{name}.example", **block)
        _, keys = add(instance, origin, AVATARS, picture(92), f"{name}.png")
        instance.media.delete(keys[0])
        others[name] = ("refused", "reject_media" if name == "rejecting" else "domain_suspended")
    origin = network.add("fine.example")
    _, keys = add(instance, origin, AVATARS, picture(93), "badguy.png", suspended_at="2026-01-01")
    instance.media.delete(keys[0])
    others["badguy"] = ("refused", "suspended")

    report = repair(opened(instance), APPLY)
    rows = table(f"SELECT domain, id, outcome, reason FROM '{report.report}'")
    by_domain = {row["domain"]: (row["outcome"], row["reason"]) for row in rows}
    for manners, wanted in expected.items():
        assert by_domain[f"{manners.name.lower().replace('_', '-')}.example"] == wanted, manners
    assert by_domain[None] == others["local"]
    assert by_domain["nourl.example"] == others["nourl"]
    assert by_domain["media.rejecting.example"] == others["rejecting"]
    assert by_domain["media.suspended.example"] == others["suspended"]
    assert by_domain["fine.example"] == others["badguy"]
    refused = {
        network.origins[d].address for d in ("media.rejecting.example", "media.suspended.example", "fine.example")
    }
    assert not {r.host for r in network.requests} & refused, "moderation is respected before anything is asked"
    left = {finding.domain for finding in load(check(opened(instance)).findings)}
    assert left == {d for d, (outcome, _) in by_domain.items() if outcome != "restored"}
    assert len(rows) == report.records == sum(report.outcomes.values())


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_a_changed_type_gets_a_new_name_and_undo_takes_it_back(
    make_instance: MakeInstance, network: Fediverse, storage: str
) -> None:
    instance = make_instance("4.5", storage)
    origin = network.add("good.example")
    gif, png = picture(3, 400, 400, "gif"), picture(4)
    new, keys = add(instance, origin, AVATARS, gif, "a.gif")
    _, same = add(instance, origin, AVATARS, picture(5), "b.png")
    original, static = keys
    instance.media.delete(original)
    instance.media.write(same[0], b"not the picture at all")
    origin.files["/a.gif"] = png
    origin.files["/b.png"] = picture(6)
    before = snapshot(instance)
    held_before = {k: instance.media.read(k) for k in instance.media.keys()}
    report = repair(opened(instance), APPLY)
    assert report.outcomes == Counter(refreshed=2)
    assert report.reasons[Outcome.REFRESHED, "other_picture"] == 1, "a size that cannot come from processing"
    row = instance.db.execute("SELECT * FROM accounts WHERE id = %s", [new]).fetchone()
    assert row is not None
    assert (row["avatar_content_type"], row["avatar_file_size"]) == ("image/png", len(png))
    assert row["avatar_file_name"].endswith(".png") and row["avatar_storage_schema_version"] == 1
    assert instance.media.read(static) is None, "leftovers of the old name are quarantined"
    assert check(opened(instance)).broken == 0
    (past,) = history(opened(instance))
    assert (past.rows_changed, past.files_written, past.files_moved) == (2, 2, 2), "one of them as a copy"

    dry = undo(opened(instance), report.run, apply=False)
    assert (dry.reverted, dry.applied) == (2, False)
    assert check(opened(instance)).broken == 0
    taken = undo(opened(instance), report.run, apply=True)
    assert (taken.reverted, taken.conflicts) == (2, 0)
    assert snapshot(instance) == before
    held_after = {k: instance.media.read(k) for k in instance.media.keys() if "quarantine" not in k}
    assert held_after == held_before
    again = undo(opened(instance), taken.run, apply=True)
    assert (again.reverted, again.conflicts) == (2, 0)
    assert check(opened(instance)).broken == 0


def test_undo_reports_conflicts_and_leaves_them_alone(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    ids = []
    for n in range(2):
        new, keys = add(instance, origin, AVATARS, picture(n, 400, 400, "gif"), f"a{n}.gif")
        origin.files[f"/a{n}.gif"] = picture(n + 10)
        instance.media.delete(keys[0])
        ids.append(new)
    report = repair(opened(instance), APPLY)
    instance.db.execute("UPDATE accounts SET avatar_file_name = 'mastodon.png' WHERE id = %s", [ids[0]])
    taken = undo(opened(instance), report.run, apply=True)
    assert (taken.reverted, taken.conflicts) == (1, 1)
    row = instance.db.execute("SELECT avatar_file_name FROM accounts WHERE id = %s", [ids[0]]).fetchone()
    assert row == {"avatar_file_name": "mastodon.png"}


def test_mass_loss_stops_repair_and_says_so(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    data = picture(1)
    for n in range(101):
        _, keys = add(instance, origin, AVATARS, data, f"a{n}.png")
        if n < 26:
            instance.media.delete(keys[0])
    held = instance.media.keys()
    with pytest.raises(SafetyStop, match=r"26 % of accounts/avatars is missing"):
        repair(opened(instance), APPLY)
    assert instance.media.keys() == held
    assert not network.requests
    assert check(opened(instance)).mass_loss


def test_an_empty_root_is_mass_loss_even_for_few_files(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    _, keys = add(instance, network.add("good.example"), AVATARS, picture(1), "a.png")
    instance.media.delete(keys[0])
    for folder in sorted((instance.folder / "public" / "system").rglob("*"), reverse=True):
        folder.rmdir()
    with pytest.raises(SafetyStop, match="is empty"):
        repair(opened(instance), APPLY)
    assert not network.requests


def test_an_unsafe_name_is_replaced(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    (instance.folder / "public/system/marker").write_bytes(b"x")
    new, _ = add(instance, origin, AVATARS, picture(1), "a.png")
    instance.db.execute("UPDATE accounts SET avatar_file_name = '../../../x.png' WHERE id = %s", [new])
    report = repair(opened(instance), APPLY)
    assert report.reasons == Counter({("refreshed", "unsafe_name"): 1})
    assert check(opened(instance)).broken == 0
    assert not (instance.folder / "public/x.png").exists()
