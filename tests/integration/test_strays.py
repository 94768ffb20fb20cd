"""What nobody expects, each object with why; what is not understood is never called an orphan."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened

from mastomend.commands.parts import changing_parts
from mastomend.database.rows import kinds_of
from mastomend.demo.instance import SimulatedInstance
from mastomend.inventory import held, scan
from mastomend.inventory.scan import Inventory, Scanned, Want, Watch
from mastomend.inventory.workspace import workspace
from mastomend.mastodon.kinds import AVATARS, EMOJIS, MEDIA_FILES
from mastomend.mastodon.selection import Selection
from mastomend.progress import Silent
from mastomend.storage import durable


@pytest.mark.parametrize("version", ["4.2", "4.7"])
def test_what_is_expected_says_whose_it_is_and_how_old(
    make_instance: MakeInstance, tmp_path: Path, version: str
) -> None:
    instance = make_instance(version)
    owner = record(instance, AVATARS, domain="a.example", created_at="2026-01-02 00:00:00", avatar_updated_at=None)
    medium = record(
        instance,
        MEDIA_FILES,
        remote_url="https://a.example/x",
        account_id=owner.id,
        file_updated_at="2026-01-03 00:00:00",
    )
    local = record(instance, EMOJIS)
    with everything(instance, tmp_path) as inventory:
        rows = [
            row
            for table in inventory.expected
            for row in inventory.work.connection.execute(
                "SELECT kind, id, style, key, expected_bytes, is_local, domain, created::VARCHAR, updated::VARCHAR "
                f"FROM ({table.described()}) WHERE style = 'original'"
            ).fetchall()
        ]
    first, second, third = "1767225600", "1767312000", "1767398400"
    assert sorted(rows) == sorted(
        [
            (AVATARS.name, owner.id, "original", owner.key, len(owner.data), False, "a.example", second, None),
            (MEDIA_FILES.name, medium.id, "original", medium.key, len(medium.data), False, "a.example", first, third),
            (EMOJIS.name, local.id, "original", local.key, len(local.data), True, None, first, first),
        ]
    )


@contextlib.contextmanager
def everything(instance: SimulatedInstance, folder: Path) -> Iterator[Inventory]:
    """A scan of all there is."""
    here = opened(instance)
    with (
        changing_parts(here) as parts,
        workspace(folder / "scan", 2**28, {}) as work,
        scan.scan(
            Scanned(parts.database, parts.store, here.configuration.storage),
            Want(kinds_of(parts.database), everything=True, described=True, connections=4, settle_s=0),
            work,
            Watch(Silent()),
        ) as inventory,
    ):
        yield inventory


def strays(inventory: Inventory) -> dict[str, str]:
    rows = inventory.work.connection.execute("SELECT key, why, modified FROM stray").fetchall()
    assert all(modified is None or modified > 1_600_000_000_000_000 for _, _, modified in rows)
    assert len({key for key, _, _ in rows}) == len(rows)
    return {key: why for key, why, _ in rows}


def populated(instance: SimulatedInstance, line_break: str = "\n") -> dict[str, str]:
    """Living records, and one of every sort of stray; what each is."""
    base = f"{instance.key_prefix}/" if instance.key_prefix else ""
    avatar = record(instance, AVATARS, domain="a.example").key
    medium = record(instance, MEDIA_FILES, remote_url="https://a.example/x", domain="a.example")
    local = record(instance, AVATARS)
    folder = avatar.rpartition("/")[0]
    found = {
        f"{base}cache/accounts/avatars/109/876/543/210/987/654/original/gone.png": "orphan",
        f"{base}accounts/headers/000/999/999/original/gone.png": "orphan",
        f"{base}media_attachments/files/000/000/001/small/ä b{line_break}c.png": "orphan",
        f"{folder}/other.png": "stale_duplicate",
        medium.keys[1].replace("small/", "small/x"): "stale_duplicate",
        local.key.replace("accounts/", "cache/accounts/", 1): "stale_duplicate",
        f"{folder}/.{'0' * 40}.mastomend-tmp": "temporary",
        "other-tenant/secret.bin": "unrecognized",
        f"{base}favicon.ico": "unrecognized",
        f"{base}accounts/avatars/000/000/001/huge/a.png": "unrecognized",
        f"{base}cache/site_uploads/files/000/000/001/original/a.png": "unrecognized",
        f"{base}accounts/avatars/000/000/001/original/deep/a.png": "unrecognized",
        f"{base}cache/accounts/avatarsX/000/000/001/original/a.png": "unrecognized",
        "neighbour/accounts/avatars/000/000/001/original/a.png": "unrecognized",
    }
    for key in found:
        instance.media.write(key, b"stray")
    instance.media.write(f"{base}.mastomend/quarantine/run/x", b"ours")
    return found


@pytest.mark.parametrize(
    ("version", "storage", "prefix"),
    [("4.7", "disk", ""), ("4.2", "s3", ""), ("4.5", "s3", "pre.fix"), ("4.5", "moto", "")],
)
def test_every_sort_of_stray(
    make_instance: MakeInstance, tmp_path: Path, version: str, storage: str, prefix: str
) -> None:
    instance = make_instance(version, storage, **({"key_prefix": prefix} if prefix else {}))
    expected = populated(instance, "" if storage == "moto" else "\n")  # which takes none
    base = f"{prefix}/" if prefix else ""
    if storage == "moto":  # where names may end in a slash
        for key in (
            "cache/accounts/avatars/",
            "accounts/avatars/000/000/001",
            "cache/accounts/avatars/000/000/001/original/",
        ):
            instance.media.write(f"{base}{key}", b"")
            expected[f"{base}{key}"] = "directory_marker"
        instance.media.write(f"{base}cache/accounts/avatars/000/000/001/original/empty.png", b"")
        expected[f"{base}cache/accounts/avatars/000/000/001/original/empty.png"] = "orphan"
    with everything(instance, tmp_path) as inventory:
        assert strays(inventory) == expected
        assert sum(broken.records for broken in inventory.broken.values()) == 0, "what is expected was found"
        whole = inventory.work.connection.execute("SELECT count(DISTINCT key) FROM objects").fetchone()
        assert whole == (len(instance.media.keys()),)


@pytest.mark.parametrize("storage", ["disk", "s3"])
def test_a_listing_that_was_cut_off_is_gone_on_with(
    make_instance: MakeInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    """What came before it was cut off is neither lost nor counted twice."""
    instance = make_instance("4.5", storage)
    expected = populated(instance)
    lost = record(instance, AVATARS, domain="b.example", damage="missing")
    monkeypatch.setattr(held, "_TOGETHER", 1)
    keep, left = held.StorageListing._keep, [3]

    def interrupted(*arguments: object) -> None:
        keep(*arguments)  # type: ignore[arg-type]
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(held.StorageListing, "_keep", interrupted)
        with contextlib.suppress(KeyboardInterrupt), everything(instance, tmp_path):
            pass
    with everything(instance, tmp_path) as inventory:
        assert strays(inventory) == expected
        assert inventory.broken[AVATARS].records == 1 and lost.key


def test_what_a_selection_leaves_out_is_never_called_nobody_s() -> None:
    with pytest.raises(ValueError, match="nobody"):
        Want((AVATARS,), Selection(local=True), everything=True)


def test_the_names_a_stray_is_told_by_are_those_that_are_written() -> None:
    """The pattern of unfinished files is the name `durable` gives them."""
    import re

    from mastomend.actions.quarantine import QUARANTINE_FOLDER
    from mastomend.inventory.strays import OURS
    from mastomend.mastodon.leftovers import TEMPORARY

    assert re.search(TEMPORARY, str(durable.temporary(Path("a/b.png"))))
    assert QUARANTINE_FOLDER.startswith(OURS)
