"""`check --listing`: what is held is taken from a file, and nothing counts before it was looked at live."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

import duckdb
import pytest
from conftest import MakeInstance, opened
from population import populate

from mastomend.cli.app import run
from mastomend.commands.check import CheckOptions, check
from mastomend.demo.instance import SimulatedInstance
from mastomend.errors import ConfigurationError
from mastomend.inventory.findings import load
from mastomend.progress import Silent

Made = dict[str, int]


def lines(form: str) -> Callable[[Path, Made], Path]:
    def write(folder: Path, held: Made) -> Path:
        file = folder / "listing.txt"
        file.write_text("".join(form.format(key=key, size=size) + "\n" for key, size in held.items()))
        return file

    return write


def lsjson(folder: Path, held: Made) -> Path:
    file = folder / "listing.json"
    entries = [{"Path": "cache", "Name": "cache", "Size": -1, "IsDir": True}]
    entries += [
        {"Path": key, "Name": key.rpartition("/")[2], "Size": size, "IsDir": False} for key, size in held.items()
    ]
    file.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")
    return file


def csv_with_header(folder: Path, held: Made) -> Path:
    file = folder / "listing.csv.gz"
    with gzip.open(file, "wt", newline="") as opened_file:
        writer = csv.writer(opened_file)
        writer.writerow(["Bucket", "Key", "Size"])
        writer.writerows(["b", key, size] for key, size in held.items())
    return file


def parquet(folder: Path, held: Made) -> Path:
    file = folder / "listing.parquet"
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t (key VARCHAR, size BIGINT)")
        db.executemany("INSERT INTO t VALUES (?, ?)", list(held.items()))
        db.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    return file


def inventory(sort: str) -> Callable[[Path, Made], Path]:
    """As S3 lays it out: CONFIG/DATE/manifest.json and CONFIG/data/*, in two files, with old versions in them."""

    def write(folder: Path, held: Made) -> Path:
        data, dated = folder / "config" / "data", folder / "config" / "2026-11-20T01-00Z"
        data.mkdir(parents=True)
        dated.mkdir()
        rows = [(key, size, "true", "false") for key, size in held.items()]
        rows += [("cache/accounts/avatars/000/000/001/original/deleted.png", 0, "true", "true")]
        rows += [(key, 999, "false", "false") for key in list(held)[:5]]
        files = []
        for n, part in enumerate((rows[::2], rows[1::2])):
            if sort == "CSV":
                file = data / f"{n}.csv.gz"
                with gzip.open(file, "wt", newline="") as opened_file:
                    writer = csv.writer(opened_file, quoting=csv.QUOTE_ALL)
                    for key, size, latest, marker in part:
                        writer.writerow(["bucket", quote_plus(key, safe="/"), "v1", latest, marker, size])
            else:
                file = data / f"{n}.parquet"
                with duckdb.connect() as db:
                    db.execute("CREATE TABLE t (key VARCHAR, size BIGINT, is_latest BOOLEAN, is_delete_marker BOOLEAN)")
                    db.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", part)
                    db.execute(f"COPY t TO '{file}' (FORMAT parquet)")
            digest = hashlib.md5(file.read_bytes()).hexdigest()
            files.append({"key": f"dest/bucket/config/data/{file.name}", "size": 1, "MD5checksum": digest})
        manifest = dated / "manifest.json"
        schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size"
        manifest.write_text(json.dumps({"fileFormat": sort, "fileSchema": schema, "files": files}))
        return manifest

    return write


FORMATS = {
    "rclone lsjson": lsjson,
    "rclone lsf ps": lines("{key};{size}"),
    "rclone lsf sp": lines("{size};{key}"),
    "rclone ls": lines("{size:9d} {key}"),
    "rclone lsl": lines("{size:9d} 2026-11-20 10:00:00.123456789 {key}"),
    "find -printf": lines("{size} ./{key}"),
    "aws s3 ls": lines("2026-11-20 10:00:00 {size:10d} {key}"),
    "s5cmd ls": lines("2026/11/20 10:00:00 {size:16d}  {key}"),
    "csv": csv_with_header,
    "plain csv": lines("{key},{size}"),
    "parquet": parquet,
    "inventory csv": inventory("CSV"),
    "inventory parquet": inventory("Parquet"),
}


def prepared(make_instance: MakeInstance, storage: str = "disk") -> tuple[SimulatedInstance, dict[str, str]]:
    """An instance with damage of every sort that a listing can show: key → state."""
    instance = make_instance("4.5", storage)
    populate(instance)
    keys = sorted(instance.files)
    originals = [key for key in keys if "/original/" in key]
    damage = dict.fromkeys(keys[::9], "missing") | {originals[1]: "empty", originals[4]: "truncated"}
    for key, state in damage.items():
        if state == "missing":
            instance.media.delete(key)
        else:
            instance.media.write(key, b"" if state == "empty" else instance.files[key] + b"x")
    return instance, damage


class Notes(Silent):
    """Keeps what would be said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def held_by(instance: SimulatedInstance) -> Made:
    return {key: len(instance.media.read(key) or b"") for key in sorted(instance.media.keys())}


def test_a_listing_in_every_form_finds_what_a_check_finds(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance, damage = prepared(make_instance)
    held = held_by(instance)
    for form, write in FORMATS.items():
        folder = tmp_path / form
        folder.mkdir()
        report = check(opened(instance), CheckOptions(listing=(write(folder, held),)))
        assert {f.key: f.state.value for f in load(report.findings)} == damage, form


def test_without_sizes_missing_files_are_found(make_instance: MakeInstance, tmp_path: Path) -> None:
    """`rclone lsf`, and `find` with the whole path."""
    instance, damage = prepared(make_instance)
    missing = {key for key, state in damage.items() if state == "missing"}
    for before in ("", f"{instance.folder}/public/system/"):
        file = lines(before + "{key}")(tmp_path, held_by(instance))
        report = check(opened(instance), CheckOptions(listing=(file,)))
        assert {f.key for f in load(report.findings)} == missing


def test_a_listing_of_a_bucket_saves_its_listing_and_is_looked_after_live(
    make_instance: MakeInstance, tmp_path: Path
) -> None:
    """Too old in both directions: what is back since is no finding; what was lost since is not seen."""
    instance, damage = prepared(make_instance, "s3")
    listed = held_by(instance)
    back = next(key for key, state in damage.items() if state == "missing")
    instance.media.write(back, instance.files[back])
    lost = next(key for key in instance.files if key not in damage)
    instance.media.delete(lost)
    notes = Notes()
    report = check(opened(instance), CheckOptions(listing=(inventory("CSV")(tmp_path, listed),)), notes)
    assert {f.key for f in load(report.findings)} == set(damage) - {back}
    assert "The listing is older than the storage; differences that were none when looked at: 1." in notes.said
    assert report.requests.list <= 2, "nothing was listed but to see that the bucket is there, and a page of candidates"


def test_several_files_are_one_listing(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance, damage = prepared(make_instance)
    held = held_by(instance)
    files = []
    for n, part in enumerate((list(held)[::2], list(held)[1::2])):
        (tmp_path / str(n)).mkdir()
        files.append(lines("{key};{size}")(tmp_path / str(n), {key: held[key] for key in part}))
    report = check(opened(instance), CheckOptions(listing=tuple(files)))
    assert {f.key: f.state.value for f in load(report.findings)} == damage


@pytest.mark.skipif(not shutil.which("find"), reason="find")
def test_find_itself(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance, damage = prepared(make_instance)
    root = instance.folder / "public" / "system"
    file = tmp_path / "found"
    with file.open("wb") as out:
        subprocess.run(["find", ".", "-type", "f", "-printf", "%s %p\n"], cwd=root, stdout=out, check=True)
    report = check(opened(instance), CheckOptions(listing=(file,)))
    assert {f.key: f.state.value for f in load(report.findings)} == damage


BAD = {
    "empty": (b"", "is empty"),
    "other keys": (b"12 some/other/file.txt\n13 another\n", "none of its keys"),
    "no manifest": (b'{"fileFormat": "CSV"}', "no manifest"),
    "orc": (b'{"fileFormat": "ORC", "fileSchema": "x", "files": []}', "does not read ORC"),
    "files gone": (
        b'{"fileFormat": "CSV", "fileSchema": "Bucket, Key", "files": [{"key": "a/b.gz", "MD5checksum": "x"}]}',
        "not beside it",
    ),
    "broken json": (b'[{"Path": "cache/x", "Size": ', "cannot be read as a listing"),
    "broken parquet": (b"PAR1" + bytes(100), "cannot be read as a listing"),
    "csv without key": (b"path_to,size,name_of\na,1,2\n", "none of its keys"),
    "binary": (bytes(range(256)) * 20, ""),
    "no text": (b"\x00\xff{{{", "has no line that is text"),
    "empty inventory": (b'{"fileFormat": "CSV", "fileSchema": "Bucket, Key", "files": []}', "names no files"),
    "no schema": (
        b'{"fileFormat": "CSV", "fileSchema": 7, "files": [{"key": "a", "MD5checksum": "x"}]}',
        "not beside it",
    ),
}


def test_a_bad_listing_is_said_in_words(
    make_instance: MakeInstance, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    instance, _ = prepared(make_instance)
    for what, (content, message) in BAD.items():
        file = tmp_path / what.replace(" ", "-")
        file.write_bytes(content)
        code = run(["--env", str(instance.env), "--state", str(instance.state), "check", "--listing", str(file)])
        said = capfd.readouterr().err
        assert code == 2, (what, said)
        assert message in said and str(file) in said and "Traceback" not in said, what


def test_an_inventory_that_was_copied_badly_is_refused(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance, _ = prepared(make_instance)
    manifest = inventory("CSV")(tmp_path, held_by(instance))
    part = next((manifest.parent.parent / "data").iterdir())
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(ConfigurationError, match="MD5 differs"):
        check(opened(instance), CheckOptions(listing=(manifest,)))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        check(opened(instance), CheckOptions(listing=(tmp_path / "nothing",)))


def test_a_line_that_is_no_text_or_no_size_is_left_out(make_instance: MakeInstance, tmp_path: Path) -> None:
    """An old disk has names in other encodings; what is left out is merely looked at live."""
    instance, damage = prepared(make_instance)
    file = lines("{size} {key}")(tmp_path, held_by(instance))
    file.write_bytes(b"12 caf\xe9.png\n99999999999999999999999 cache/x\n" + file.read_bytes())
    report = check(opened(instance), CheckOptions(listing=(file,)))
    assert {f.key: f.state.value for f in load(report.findings)} == damage


def test_every_listing_must_have_keys_of_mastodon(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance, _ = prepared(make_instance)
    good = lines("{size} {key}")(tmp_path, held_by(instance))
    wrong = tmp_path / "wrong"
    wrong.write_text("12 avatars/1.png\n")
    with pytest.raises(ConfigurationError, match="none of its keys"):
        check(opened(instance), CheckOptions(listing=(good, wrong)))


def test_what_two_listings_both_have_is_one_finding(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance, damage = prepared(make_instance)
    file = lines("{size} {key}")(tmp_path, held_by(instance))
    other = tmp_path / "other"
    shutil.copy(file, other)
    report = check(opened(instance), CheckOptions(listing=(file, other)))
    found = list(load(report.findings))
    assert {f.key: f.state.value for f in found} == damage and len(found) == len(damage)
