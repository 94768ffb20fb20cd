"""For each source a record that only that source can restore, on disk and in a bucket."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
from broken import table
from conftest import MakeInstance, opened
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mastomend.actions.quarantine import quarantine_key
from mastomend.commands.check import check
from mastomend.commands.history import history
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions, RepairReport
from mastomend.commands.undo import undo
from mastomend.demo.fediverse import Fediverse, Origin
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError
from mastomend.mastodon.keys import Record
from mastomend.mastodon.kinds import (
    AVATARS,
    BACKUPS,
    EMOJIS,
    HEADERS,
    MEDIA_FILES,
    MEDIA_THUMBNAILS,
    PREVIEW_CARDS,
    SITE_UPLOADS,
)
from mastomend.outcomes import Outcome
from mastomend.progress import Silent

APPLY = RepairOptions(apply=True, max_missing_percent=100)
GOLDEN = Path(__file__).parents[1] / "golden" / "active_record_encryption.json"
ON_BOTH = pytest.mark.parametrize("storage", ["disk", "s3"])


def rows_of(report: RepairReport) -> dict[tuple[str, int], dict[str, object]]:
    rows = table(f"SELECT * FROM '{report.report}'")
    return {(str(row["kind"]), int(str(row["id"]))): row for row in rows}


def move(instance: SimulatedInstance, key: str, target: str) -> None:
    instance.media.write(target, instance.files[key])
    instance.media.delete(key)


def local_avatar(instance: SimulatedInstance, n: int) -> list[str]:
    return instance.add_image(AVATARS, picture(n), username=f"local{n}", uri="" if n == 1 else f"x:{n}")[1]


@ON_BOTH
def test_elsewhere_in_the_same_storage(make_instance: MakeInstance, network: Fediverse, storage: str) -> None:
    instance = make_instance("4.6", storage)
    gone = network.add("gone.example").url("/gone")
    moved, old, quarantined = (
        instance.add_image(HEADERS, picture(n), remote_url=gone, domain="gone.example", username=f"u{n}", uri=f"x:{n}")[
            1
        ]
        for n in (11, 12, 13)
    )
    local = local_avatar(instance, 1)
    made = instance.produced(MEDIA_THUMBNAILS, picture(14))
    columns = instance.attachment(MEDIA_THUMBNAILS, made, "cover.png", 1)
    urls = {"remote_url": "https://x.example/a", "thumbnail_remote_url": gone, "type": 2}
    media = instance.insert("media_attachments", **urls, **columns)
    record = Record(media, False, "cover.png", made.content_type, len(made.original), 1)
    cover = instance.store(MEDIA_THUMBNAILS, record, made.files)
    wrong = instance.add_image(AVATARS, picture(15), remote_url=gone, domain="gone.example", username="w", uri="x:w")[1]
    move(instance, moved[0], moved[0].removeprefix("cache/"))
    move(instance, old[0], f"before/{old[0]}")
    move(instance, quarantined[0], quarantine_key("20260101T000000Z-abcd", quarantined[0]))
    move(instance, local[0], f"cache/{local[0]}")
    move(instance, cover[0], cover[0].removeprefix("cache/"))
    instance.media.delete(wrong[0])
    instance.media.write(wrong[0].removeprefix("cache/"), b"other bytes of another size")
    dry = repair(opened(instance), RepairOptions(max_missing_percent=100))
    assert dry.plan == {"elsewhere": 5, "origin": 1}
    report = repair(opened(instance), APPLY)
    assert report.sources == {"elsewhere": 5}
    assert (report.outcomes[Outcome.RESTORED], report.outcomes[Outcome.GONE]) == (5, 1)
    for keys in (moved, old, quarantined, local, cover):
        assert instance.media.read(keys[0]) == instance.files[keys[0]]
    assert {r.path for r in network.requests} == {"/gone"}, "only what is nowhere is asked for"
    undone = undo(opened(instance), report.run, apply=True)
    assert (undone.reverted, undone.conflicts) == (4, 1), "a local record's file is not taken away again"
    assert check(opened(instance)).broken == 5


@ON_BOTH
def test_a_backup(make_instance: MakeInstance, storage: str) -> None:
    instance, other = make_instance("4.5", storage), make_instance("4.5", storage)
    archive = bytes(range(256)) * 100_000  # 25 MB: sent in parts, never held in memory
    dump = instance.add_plain(BACKUPS, archive, "archive-1.zip", "application/zip", processed=True)
    avatar, gif = (
        local_avatar(instance, 1),
        instance.add_image(AVATARS, picture(3, 400, 400, "gif"), username="g", uri="x")[1],
    )
    unlike = local_avatar(instance, 5)
    for key in (*dump, *avatar, *gif, *unlike):
        other.media.write(key, instance.files[key] if key not in unlike else b"other")
        instance.media.delete(key)
    if storage == "disk":
        (other.folder / "public" / "system" / avatar[0]).chmod(0o600)
    other.media.delete(gif[1])  # the backup lacks a style: it is made from the original
    named = other.folder if storage == "disk" else other.env  # the folder of an installation, or its settings
    report = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100, backups=(named,)))
    assert report.sources == {"backup": 3}
    if storage == "disk":  # the backup's own modes are not what Mastodon gives its files
        assert (instance.folder / "public" / "system" / avatar[0]).stat().st_mode & 0o777 == 0o644
    assert report.outcomes == {"restored": 3, "lost": 1}
    for key in (*dump, *avatar, gif[0]):
        assert instance.media.read(key) == instance.files[key]
    assert check(opened(instance)).broken == 1
    (row,) = [r for r in rows_of(report).values() if r["outcome"] == "lost"]
    assert row["reason"] == "local"


def test_a_backup_that_is_none_is_said_to_be_none(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    keys = local_avatar(instance, 1)
    local_avatar(instance, 2)
    instance.media.delete(keys[0])
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("FOO=bar\n")
    own = instance.folder / "public" / "system"
    for path, words in (
        (tmp_path / "empty", "no media of Mastodon"), (tmp_path / "absent", "does not exist"),
        (tmp_path / "notes.txt", "names no storage"), (own, "own storage"), (instance.env, "own storage"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=words):
            repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100, backups=(path,)))


def test_local_styles_come_from_their_original(make_instance: MakeInstance) -> None:
    instance = make_instance("4.5")
    shown = picture(7, 1000, 700, "jpeg")
    media = instance.add_image(MEDIA_FILES, shown, remote_url="")[1]
    gif = instance.add_image(AVATARS, picture(3, 400, 400, "gif"), username="g", uri="x")[1]
    upload = instance.add_plain(SITE_UPLOADS, picture(8, 1300, 700), "a.png", "image/png", var="thumbnail")
    icon = instance.add_plain(SITE_UPLOADS, picture(9, 600, 600), "b.png", "image/png", var="app_icon")
    for key in (media[1], gif[1], *upload[1:], *icon[1:]):
        instance.media.delete(key)
    originals = {key: instance.media.read(key) for key in instance.media.keys()}
    report = repair(opened(instance), APPLY)
    assert report.sources == {"original": 4} and report.outcomes == {"restored": 4}
    assert check(opened(instance)).broken == 0
    assert {key: instance.media.read(key) for key in originals} == originals, "no original is touched"
    sizes = {key.split("/")[-2]: _size(instance.media.read(key)) for key in (*upload[1:], *icon[1:])}
    assert sizes["@1x"] == (1200, 630) and sizes["@2x"] == (2400, 1260)
    assert all(sizes[style] == (int(style), int(style)) for style in sizes if style.isdecimal())


def _size(data: bytes | None) -> tuple[int, int]:
    from mastomend.images.decode import header

    assert data is not None
    found = header(data)
    return found.width, found.height


@ON_BOTH
def test_the_actor_and_the_note_know_where_it_is_now(
    make_instance: MakeInstance, network: Fediverse, tmp_path: Path, storage: str
) -> None:
    instance = make_instance("4.5", storage)
    origin = network.add("moved.example")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    instance.insert("accounts", id=-99, username="mastodon.internal", private_key=pem.decode(), uri="")
    dead = origin.url("/dead")
    same, other, shapes = picture(1), picture(33), picture(4)
    origin.files |= {"/same": same, "/other": other, "/shapes": shapes, "/emoji": picture(5), "/thumb": picture(6)}
    bodies: dict[str, dict[str, object]] = {
        "/a1": {"icon": {"type": "Image", "url": origin.url("/same")}},
        "/a2": {"icon": [{"type": "Image", "url": [{"href": origin.url("/other")}]}]},
        "/a3": {"icon": origin.publish("/image", {"type": "Image", "url": origin.url("/shapes")})},
        "/a4": {"image": {"url": origin.url("/same")}},
    }
    ids = {}
    for n, (path, body) in enumerate(bodies.items()):
        uri = origin.publish(path, {"type": "Person", **body})
        ids[path] = instance.add_image(
            AVATARS,
            (same, picture(3), shapes, same)[n],
            remote_url=dead,
            domain="moved.example",
            username=path,
            uri=uri,
        )
    emoji_uri = origin.publish("/e1", {"type": "Emoji", "icon": {"url": origin.url("/emoji")}})
    emoji = instance.add_image(
        EMOJIS, picture(5), remote_url=dead, domain="moved.example", shortcode="blob", uri=emoji_uri
    )
    note = {"type": "Note", "attachment": [
        {"type": "Document", "url": origin.url("/same"), "icon": {"url": origin.url("/thumb")}},
        {"type": "Document", "url": {"href": origin.url("/other")}},
    ]}  # fmt: skip
    status = instance.insert("statuses", uri=origin.publish("/n1", note), account_id=ids["/a1"][0])
    files = [instance.add_image(MEDIA_FILES, data, remote_url=f"{dead}{n}", status_id=status, account_id=ids["/a1"][0])
             for n, data in enumerate((same, other))]  # fmt: skip
    instance.db.execute("UPDATE media_attachments SET blurhash = NULL")
    for _, keys in (*ids.values(), emoji, *files):
        instance.media.delete(keys[0])
    report = repair(opened(instance), APPLY)
    outcomes = {name[1]: (row["outcome"], row["source"], row["reason"]) for name, row in rows_of(report).items()}
    assert outcomes[ids["/a1"][0]] == ("restored", "actor", "restored")
    assert outcomes[ids["/a2"][0]] == ("refreshed", "actor", "other_picture")
    assert outcomes[ids["/a3"][0]] == ("restored", "actor", "restored")
    assert outcomes[ids["/a4"][0]] == ("gone", "origin", "not_found"), "it shows a header, and no avatar any more"
    assert outcomes[emoji[0]] == ("restored", "actor", "restored")
    assert [outcomes[new][:2] for new, _ in files] == [("restored", "note"), ("restored", "note")]
    urls = instance.db.execute("SELECT username, avatar_remote_url AS url FROM accounts WHERE id > 0").fetchall()
    assert {row["username"]: row["url"] for row in urls} == {
        "/a1": origin.url("/same"), "/a2": origin.url("/other"), "/a3": origin.url("/shapes"), "/a4": dead
    }  # fmt: skip
    tried = rows_of(report)["accounts/avatars", ids["/a4"][0]]["tried"]
    assert tried == "origin: not_found; actor: no_picture"
    public = tmp_path / "public.pem"
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signed = [r for r in network.requests if "Signature" in r.headers]
    assert {r.path for r in signed} == {"/a1", "/a2", "/a3", "/a4", "/e1", "/n1"}, (
        "documents are signed, pictures are not"
    )
    for request in signed:
        assert request.accept == "application/activity+json, application/ld+json"
        verify_by_openssl(request.headers, request.path, public, tmp_path)
    undone = undo(opened(instance), report.run, apply=True)
    assert (undone.reverted, undone.conflicts) == (6, 0)
    assert all(
        r["url"] == dead for r in instance.db.execute("SELECT avatar_remote_url AS url FROM accounts WHERE id > 0")
    )


def verify_by_openssl(headers: dict[str, str] | object, path: str, public: Path, folder: Path) -> None:
    """An independent verifier: it rebuilds the signed text from the request and lets OpenSSL's own program judge."""
    assert isinstance(headers, dict)
    fields = dict(re.findall(r'(\w+)="([^"]*)"', headers["Signature"]))
    assert (fields["keyId"], fields["algorithm"]) == ("https://example.social/actor#main-key", "rsa-sha256")
    values = {"(request-target)": f"get {path}", "host": headers["Host"], "date": headers["Date"]}
    (folder / "text").write_text("\n".join(f"{name}: {values[name]}" for name in fields["headers"].split()))
    (folder / "signature").write_bytes(b64decode(fields["signature"]))
    command = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(folder / "signature")]
    done = subprocess.run([*command, str(folder / "text")], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Verified OK", done


def test_a_deleted_actor_or_note_is_gone_and_nothing_else_changes(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance("4.7")
    origin = network.add("away.example")
    tomb = origin.publish("/tomb", {"type": "Tombstone"})
    fake = origin.publish("/fake", {"icon": {"url": origin.url("/picture")}})
    origin.files["/fake"] = origin.files["/fake"].replace(b'"id": "http', b'"id": "https')
    origin.files["/picture"] = picture(1)
    origin.statuses["/deleted"] = 410
    made = {}
    for uri in (tomb, fake, origin.url("/deleted")):
        made[uri] = instance.add_image(
            AVATARS, picture(1), remote_url=origin.url("/dead"), domain="away.example", username=uri[-5:], uri=uri
        )
        instance.media.delete(made[uri][1][0])
    status = instance.insert("statuses", uri=origin.url("/deleted"), account_id=instance.somebody())
    media, keys = instance.add_image(MEDIA_FILES, picture(1), remote_url=origin.url("/dead"), status_id=status)
    instance.media.delete(keys[0])
    before = [
        instance.db.execute(f"SELECT * FROM {t} ORDER BY id").fetchall() for t in ("accounts", "media_attachments")
    ]
    report = repair(opened(instance), APPLY)
    reasons = {new: (row["outcome"], row["reason"]) for (_, new), row in rows_of(report).items()}
    assert reasons[media] == ("gone", "note_gone")
    assert reasons[made[tomb][0]] == reasons[made[origin.url("/deleted")][0]] == ("gone", "actor_gone")
    assert reasons[made[fake][0]] == ("gone", "not_found"), "a document that claims to be another is not believed"
    after = [
        instance.db.execute(f"SELECT * FROM {t} ORDER BY id").fetchall() for t in ("accounts", "media_attachments")
    ]
    assert after == before
    (past,) = history(opened(instance))
    assert (past.rows_changed, past.files_written, past.files_moved) == (0, 0, 0)


@ON_BOTH
def test_the_page_of_a_preview_card(make_instance: MakeInstance, network: Fediverse, storage: str) -> None:
    instance = make_instance("4.5", storage)
    origin = network.add("press.example")
    shown, photo = picture(1, 900, 500, "jpeg"), picture(2, 300, 200)
    origin.files |= {"/og.jpg": shown, "/photo.png": photo, "/card.gif": picture(3, 60, 40, "gif")}
    oembed = {"version": "1.0", "type": "photo", "url": "/photo.png"}
    origin.files["/oembed"] = json.dumps(oembed).encode()
    pages = {
        "/article": '<meta property="og:image" content="/og.jpg">',
        "/photo": '<link rel="alternate" type="application/json+oembed" href="/oembed"><meta property="og:image" content="/x">',
        "/gif": f'<meta name="og:image" content="{origin.url("/card.gif")}">',
        "/nothing": "<title>Nothing</title>",
        "/inside": '<meta property="og:image" content="http://10.0.0.1/secret.png">',
    }
    for path, head in pages.items():
        origin.files[path] = f"<html><head>{head}</head><body>{'long ' * 300_000}</body></html>".encode()
        origin.types[path] = "text/html; charset=utf-8"
    made = {}
    for path, data in (("/article", shown), ("/photo", photo), ("/gif", origin.files["/card.gif"]),
                       ("/nothing", shown), ("/inside", shown)):  # fmt: skip
        made[path] = instance.add_image(PREVIEW_CARDS, data, url=origin.url(path), type=0)
        instance.media.delete(made[path][1][0])
    report = repair(opened(instance), APPLY)
    reasons = {new: (row["outcome"], row["source"], row["reason"]) for (_, new), row in rows_of(report).items()}
    for path in ("/article", "/photo", "/gif"):
        assert reasons[made[path][0]] == ("restored", "page", "restored")
        key = made[path][1][0]
        assert instance.media.read(key) == instance.files[key]
    assert made["/gif"][1][0].endswith(".gif") and (instance.media.read(made["/gif"][1][0]) or b"").startswith(
        b"\xff\xd8"
    )
    assert reasons[made["/nothing"][0]] == ("gone", "page", "no_picture")
    assert reasons[made["/inside"][0]] == ("refused", "page", "private_address")
    agents = {r.user_agent.rpartition(" ")[2] for r in network.requests}
    assert agents == {"Bot"}
    assert check(opened(instance)).broken == 2


def test_an_address_the_row_never_had(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance("4.5")
    origin: Origin = network.add("late.example")
    origin.files["/now"] = picture(1)
    uri = origin.publish("/actor", {"icon": {"url": origin.url("/now")}})
    new, keys = instance.add_image(AVATARS, picture(1), remote_url="", domain="late.example", username="l", uri=uri)
    lost, lost_keys = instance.add_image(
        AVATARS, picture(2), remote_url=" ", domain="late.example", username="m", uri="x"
    )
    for key in (*keys, *lost_keys):
        instance.media.delete(key)
    report = repair(opened(instance), APPLY)
    rows = rows_of(report)
    assert (rows["accounts/avatars", new]["outcome"], rows["accounts/avatars", new]["source"]) == ("restored", "actor")
    assert (rows["accounts/avatars", lost]["outcome"], rows["accounts/avatars", lost]["reason"]) == ("lost", "no_url")


def test_the_encrypted_key_of_4_7_signs(make_instance: MakeInstance, network: Fediverse, tmp_path: Path) -> None:
    vector = next(v for v in json.loads(GOLDEN.read_text()) if "RSA" in v["text"])
    instance = make_instance("4.7")
    with instance.env.open("a") as file:
        file.write(f"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY={vector['primary_key']}\n")
        file.write(f"ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT={vector['salt']}\n")
    instance.insert("accounts", id=-99, username="mastodon.internal", uri="x:actor")
    common = {"account_id": -99, "type": 0, "public_key": "x"}
    instance.insert("keypairs", **common, local_fragment="#old", private_key="unreadable", revoked=True)
    instance.insert("keypairs", **common, local_fragment="#main-key", private_key=vector["column"])
    origin = network.add("secure.example")
    origin.files["/now"] = picture(1)
    uri = origin.publish("/actor", {"icon": {"url": origin.url("/now")}})
    _, keys = instance.add_image(AVATARS, picture(1), remote_url="", domain="secure.example", username="l", uri=uri)
    instance.media.delete(keys[0])
    assert repair(opened(instance), APPLY).outcomes == {"restored": 1}
    (signed,) = [r for r in network.requests if "Signature" in r.headers]
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_text(vector["text"])
    subprocess.run(
        ["openssl", "rsa", "-in", str(private), "-pubout", "-out", str(public)], check=True, capture_output=True
    )
    verify_by_openssl(dict(signed.headers), signed.path, public, tmp_path)


def test_a_key_that_cannot_be_read_is_said_so_and_repair_goes_on(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance("4.7")
    instance.insert("accounts", id=-99, username="mastodon.internal", uri="x:actor")
    vector = json.loads(GOLDEN.read_text())[0]
    instance.insert(
        "keypairs", account_id=-99, type=0, public_key="x", local_fragment="#main-key", private_key=vector["column"]
    )
    origin = network.add("s.example")
    origin.files["/a"] = picture(1)
    _, keys = instance.add_image(
        AVATARS, picture(1), remote_url=origin.url("/a"), domain="s.example", username="a", uri="x:a"
    )
    instance.media.delete(keys[0])
    notes = Notes()
    assert repair(opened(instance), APPLY, notes).outcomes == {"restored": 1}
    (said,) = [note for note in notes.said if "not signed" in note]
    assert "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY" in said and vector["text"] not in said


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_strangers_may_send_anything(make_instance: MakeInstance, network: Fediverse) -> None:
    """Nothing a server sends ends the run for the others, or enters the database as it is."""
    instance = make_instance("4.5")
    origin = network.add("odd.example")
    origin.files["/good"] = picture(1)
    icons: list[object] = [
        origin.url("/good") + "\u0000", origin.url("/good") + "\ud800", "http://[x", {"url": {"href": [1]}}, 7, [[["x"]]],
        {"type": "Image", "url": "ftp://x/y"}, {"url": "javascript:1"},
    ]  # fmt: skip
    for n, icon in enumerate(icons):
        uri = origin.publish(f"/a{n}", {"icon": icon})
        _, keys = instance.add_image(
            AVATARS, picture(1), remote_url=origin.url("/dead"), domain="odd.example", username=f"a{n}", uri=uri
        )
        instance.media.delete(keys[0])
    heads = [
        "<![foo[", "<![ ", '<meta property="og:image" content="http://[x">', "<!DOCTYPE [", '<meta property="og:image">',
        '<link rel="alternate" type="application/json+oembed" href="http://[y">', "\x00\x01",
    ]  # fmt: skip
    charsets = ["undefined", "idna", "punycode", "no-such", "utf-7", "zip", ""]
    for n, (head, charset) in enumerate(zip(heads, charsets, strict=True)):
        origin.files[f"/p{n}"] = f"<html>{head}<body>".encode()
        origin.types[f"/p{n}"] = f"text/html; charset={charset}"
        _, keys = instance.add_image(PREVIEW_CARDS, picture(2), url=origin.url(f"/p{n}"), type=0)
        instance.media.delete(keys[0])
    report = repair(opened(instance), APPLY)
    assert set(report.outcomes) == {"gone"} and report.records == len(icons) + len(heads), report.reasons
    assert not [reason for _, reason in report.reasons if reason == "internal_error"]


def test_a_useless_source_does_not_hide_the_next(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance("4.5")
    shown = picture(7, 1000, 700, "jpeg")
    _, keys = instance.add_image(MEDIA_FILES, shown, remote_url="")
    for key in keys:
        for name, data in (("worse", b"!" * len(instance.files[key])), ("backup", instance.files[key])):
            path = tmp_path / name / key
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
    instance.media.write(keys[0], b"?" * len(instance.files[keys[0]]))  # as long as it should be, and no picture
    instance.media.delete(keys[1])
    options = RepairOptions(apply=True, max_missing_percent=100, backups=(tmp_path / "worse", tmp_path / "backup"))
    report = repair(opened(instance), options)
    assert (report.outcomes, report.sources) == ({"restored": 1}, {"backup": 1})
    (row,) = rows_of(report).values()
    assert [said.split(" ")[:2] for said in str(row["tried"]).split("; ")] == [
        ["original:", "not_an_image"], ["backup:", "not_an_image"]
    ]  # fmt: skip
    assert [instance.media.read(key) for key in keys] == [instance.files[key] for key in keys]


def test_pages_of_blocked_hosts_are_not_asked(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance("4.5")
    origin = network.add("blocked.example")
    instance.insert("domain_blocks", domain=origin.address, severity=0, reject_media=True)
    _, keys = instance.add_image(PREVIEW_CARDS, picture(2), url=origin.url("/page"), type=0)
    instance.media.delete(keys[0])
    report = repair(opened(instance), APPLY)
    assert {(o.value, r) for o, r in report.reasons} == {("refused", "reject_media")}
    assert not network.requests
