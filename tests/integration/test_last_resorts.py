"""What could be restored is not given up: hosts that are gone, other places, other names (issue 10, C11 to C14)."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from broken import Made, outcomes, record
from conftest import MakeInstance, opened

from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.fediverse import Fediverse, Manners
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.mastodon.kinds import AVATARS, MEDIA_FILES
from mastomend.outcomes import Outcome
from mastomend.remote.client import TimeLimits
from mastomend.restore.sources.copies import is_same_name

APPLY = RepairOptions(apply=True, max_missing_percent=100)
HURRIED = "settle_seconds = 0\n[politeness]\nrate = 0\nbackoff_s = 0.01\ntries = 1\n"


# --- C11: a host that is gone says nothing about the actor --------------------------------------------------------------


@pytest.mark.parametrize(
    "old",
    [
        "status:401", "status:403", "status:404", "status:410", "status:451", "status:500", "status:400", "broken", "cut",
        "html", "http://127.9.9.9:1/refused.png", "http://gone.invalid/dns.png", "https://{host}/tls.png",
        "relative/a.png", "/absolute.png", "data:image/png;base64,AAAA", "ftp://old.example/a.png", "https://", "x:y",
        "http://[::bad/a.png", "http://10.0.0.1/private.png",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [AVATARS, MEDIA_FILES])
def test_c11_another_address_is_asked_for(
    make_instance: MakeInstance, network: Fediverse, old: str, kind: object
) -> None:
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text(HURRIED)
    home, cdn = network.add("home.example"), network.add("cdn.example")
    data = picture(5)
    home.files["/new.png"] = data
    url = old.format(host=f"{cdn.address}:{cdn.port}")
    match old.partition(":"):
        case ("status", _, code):
            cdn.statuses["/old.png"] = int(code)
            url = cdn.url("/old.png")
        case ("broken" | "cut" | "html", _, _):
            cdn.manners = {"broken": Manners.BROKEN, "cut": Manners.CUT, "html": Manners.HTML}[old]
            cdn.files["/old.png"] = data
            url = cdn.url("/old.png")
        case _:
            pass
    if kind is AVATARS:
        uri = home.publish("/users/a", {"type": "Person", "icon": {"type": "Image", "url": home.url("/new.png")}})
        made = record(instance, AVATARS, data, remote_url=url, domain="home.example", uri=uri)
    else:
        note = {"type": "Note", "attachment": [{"type": "Document", "url": home.url("/new.png")}]}
        status = instance.insert("statuses", uri=home.publish("/notes/1", note), account_id=instance.somebody())
        made = record(instance, MEDIA_FILES, data, remote_url=url, status_id=status)
    instance.media.delete(made.key)
    keep(instance, made)
    done = outcomes(repair(opened(instance), APPLY))[made.id]
    assert done.outcome is Outcome.RESTORED and done.source == ("actor" if kind is AVATARS else "note"), done
    assert instance.media.read(made.key) == data


def keep(instance: SimulatedInstance, made: Made) -> None:
    instance.media.write(f"{made.key.partition('/original')[0]}/kept", b"x")


def test_c11_a_dead_host_is_asked_few_times_for_all_its_records(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text(HURRIED)
    home, cdn = network.add("home.example"), network.add("cdn.example", Manners.BROKEN)
    made = []
    for n in range(20):
        home.files[f"/new{n}"] = data = picture(100 + n)
        uri = home.publish(f"/users/{n}", {"type": "Person", "icon": {"type": "Image", "url": home.url(f"/new{n}")}})
        made.append(record(instance, AVATARS, data, remote_url=cdn.url(f"/{n}"), domain="home.example", uri=uri))
        instance.media.delete(made[-1].key)
    keep(instance, made[0])
    done = repair(opened(instance), APPLY)
    assert done.outcomes == {"restored": 20}
    asked = sum(request.host == cdn.address for request in network.requests)
    assert asked <= 8, f"the dead host was asked {asked} times"


def test_c11_a_host_that_asks_for_a_pause_is_waited_for(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text(HURRIED)
    home, cdn = network.add("home.example"), network.add("cdn.example", Manners.RATE_LIMITED)
    cdn.refusals, cdn.retry_after_s = 1000, 3600
    uri = home.publish("/users/a", {"type": "Person", "icon": {"type": "Image", "url": home.url("/new")}})
    made = record(instance, AVATARS, remote_url=cdn.url("/old"), domain="home.example", uri=uri, damage="missing")
    keep(instance, made)
    done = outcomes(repair(opened(instance), APPLY))[made.id]
    assert (done.outcome, done.reason) == (Outcome.DEFERRED, "rate_limited")
    assert all(request.host == cdn.address for request in network.requests)


def test_c11_nothing_is_given_up_before_the_actor_was_asked(make_instance: MakeInstance, network: Fediverse) -> None:
    """The host is dead for good; in the end its actor moves."""
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text(HURRIED + "[deferred]\ntries = 3\nfirst_hours = 1\n")
    home, cdn = network.add("home.example"), network.add("cdn.example", Manners.BROKEN)
    old = cdn.url("/old")
    uri = home.publish("/users/a", {"type": "Person", "icon": {"type": "Image", "url": old}})
    made = record(instance, AVATARS, remote_url=old, domain="home.example", uri=uri, damage="missing")
    keep(instance, made)
    start = datetime(2026, 11, 25, tzinfo=UTC)
    for hours in (0, 2):
        done = repair(opened(instance), APPLY, now=lambda hours=hours: start + timedelta(hours=hours))  # type: ignore[misc]
        assert done.outcomes == {"deferred": 1}
    home.files["/new"] = made.data
    home.publish("/users/a", {"type": "Person", "icon": {"type": "Image", "url": home.url("/new")}})
    assert repair(opened(instance), APPLY, now=lambda: start + timedelta(hours=20)).outcomes == {"restored": 1}


# --- C13: beside their place --------------------------------------------------------------------------------------------

NAME = "Ünïcode Näme.png"


@pytest.mark.parametrize(
    ("name", "found", "same"),
    [
        (NAME, unicodedata.normalize("NFD", NAME), True),
        (NAME, unicodedata.normalize("NFC", NAME).upper(), True),
        ("a1b2.png", "a1b2 (1).png", True), ("a1b2.png", "a1b2(2).png", True), ("a1b2.png", "a1b2.png.1", True),
        ("a1b2.png", ".a1b2.png.Xy9Zw0", True), ("a1b2.png", "A1B2.PNG", True), ("a1b2.png", "a1b2.png~", True),
        ("a1b2.png", "a1b2.png.bak", True), ("a b.png", "a%20b.png", True), ("a1b2.png", "a1b2 - Copy.png", True),
        ("a1b2.png", "a1b3.png", False), ("a1b2.png", "a1b2.jpg", False), ("a1b2.png", "b.a1b2.png", False),
        ("a1b2.png", "a1b2 1.png", False),
    ],
)  # fmt: skip
def test_c13_names_that_are_the_same_but_for_what_tools_do(name: str, found: str, same: bool) -> None:
    assert is_same_name(f"x/{found}", f"y/original/{name}") is same


@pytest.mark.parametrize("storage", ["disk", "s3"])
@pytest.mark.parametrize(
    "beside",
    ["original/{nfd}", "original/{upper}", "original/{stem} (1).png", "original/{name}.1", "original/.{name}.aB3dE6", "{name}",
     "/system/{key}", "/old/system/{key}"],
)  # fmt: skip
def test_c13_a_local_file_beside_its_place_is_used(make_instance: MakeInstance, storage: str, beside: str) -> None:
    instance = make_instance("4.5", storage)
    made = record(instance, file_name="näme.png")
    record(instance)
    folder, _, name = made.key.rpartition("/original/")
    key = beside.format(
        nfd=unicodedata.normalize("NFD", name),
        upper=name.upper(),
        stem=name.removesuffix(".png"),
        name=name,
        key=made.key,
    )
    instance.media.write(key.removeprefix("/") if key.startswith("/") else f"{folder}/{key}", instance.files[made.key])
    instance.media.delete(made.key)
    dry = repair(opened(instance), RepairOptions())
    if beside.startswith("/old/"):
        assert dry.plan == {"none": 1}, "one level, not any"
        return
    assert dry.plan == {"elsewhere": 1}
    done = repair(opened(instance), RepairOptions(apply=True))
    assert (done.outcomes, done.sources) == ({"restored": 1}, {"elsewhere": 1})
    assert instance.media.read(made.key) == instance.files[made.key]


@pytest.mark.parametrize("name", ["0123456789abcdef.png", "näme (1).png"])
def test_c13_what_else_lies_there_is_named_and_never_used(make_instance: MakeInstance, name: str) -> None:
    """Another name of the right size; the right name of another size."""
    instance = make_instance()
    made = record(instance, file_name="näme.png")
    record(instance)
    data = instance.files[made.key]
    other = data if name.startswith("0") else data + b"x"
    instance.media.delete(made.key)
    instance.media.write(made.key.replace("näme.png", name), other)
    done = outcomes(repair(opened(instance), RepairOptions(apply=True)))[made.id]
    assert (done.outcome, done.reason) == (Outcome.LOST, "local")
    assert f"beside it lies {name} ({len(other):,} bytes), which is not used" in done.detail
    assert instance.media.read(made.key) is None


def test_c13_a_backup_that_was_given_is_not_asked_for_again(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    cut, absent = record(instance), record(instance)
    record(instance)
    shutil.copytree(instance.folder / "public/system", tmp_path / "backup")
    (tmp_path / "backup" / cut.key).write_bytes(b"cut off")
    (tmp_path / "backup" / absent.key).unlink()
    for one in (cut, absent):
        instance.media.delete(one.key)
    options = RepairOptions(apply=True, max_missing_percent=100, backups=(tmp_path / "backup",))
    done = outcomes(repair(opened(instance), options))
    size = len(instance.files[cut.key])
    assert f"the backup has it with 7 bytes, but {size:,} are recorded" in done[cut.id].detail
    assert "the backup does not have it" in done[absent.id].detail
    assert all("only a backup" not in one.detail for one in done.values())


# --- C14, from end to end -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("heif-enc") is None, reason="heif-enc")
@pytest.mark.parametrize("has_decoder", [True, False])
def test_c14_a_heic_picture(
    make_instance: MakeInstance, network: Fediverse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_decoder: bool
) -> None:
    if has_decoder and shutil.which("vips") is None:
        pytest.skip("vips")
    (tmp_path / "a.png").write_bytes(picture(1, 640, 480))
    command = ["heif-enc", str(tmp_path / "a.png"), "-o", str(tmp_path / "a.heic")]
    subprocess.run(command, check=True, capture_output=True)
    instance = make_instance()
    origin = network.add("good.example")
    made = record(instance, MEDIA_FILES, picture(1, 640, 480, "jpeg"), origin=origin, name="h", damage="missing")
    record(instance, MEDIA_FILES, picture(2, 640, 480, "jpeg"), origin=origin)
    origin.files["/h"] = (tmp_path / "a.heic").read_bytes()
    if not has_decoder:
        monkeypatch.setattr("mastomend.commands.parts.decoders", lambda _: ())
    done = outcomes(repair(opened(instance), RepairOptions(apply=True)))[made.id]
    if has_decoder:
        assert done.outcome in (Outcome.RESTORED, Outcome.REFRESHED)
        assert (instance.media.read(made.key) or b"").startswith(b"\xff\xd8")
    else:
        assert (done.outcome, done.reason) == (Outcome.DEFERRED, "needs_decoder") and "HEVC" in done.detail


# --- F37, F39: strangers' manners ---------------------------------------------------------------------------------------


def test_f39_an_encoding_nobody_asked_for_is_the_file_s_trouble(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    """One file of a host comes packed in brotli; the host's others are restored."""
    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text(HURRIED)
    origin = network.add("good.example")
    made = [record(instance, origin=origin, name=f"f{n}", damage="missing") for n in range(6)]
    record(instance, domain="a.example")
    origin.headers["/f0"] = {"Content-Encoding": "br"}
    origin.headers["/f1"] = {"Content-Encoding": "gzip"}  # which it is not
    done = outcomes(repair(opened(instance), APPLY))
    assert {done[one.id].reason for one in made[:2]} == {"bad_encoding"}
    assert {done[one.id].outcome for one in made[2:]} == {Outcome.RESTORED}


def test_limits_of_time_have_one_end() -> None:
    limits = TimeLimits()
    assert limits.headers_s <= 30 and limits.whole_s <= 60
