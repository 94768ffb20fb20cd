"""What is remembered of moves, in the state directory: where the media of each target came from, and how fast they went.

Of a bucket only its name: no key is ever written down.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from mastomend.actions.actions import Place
from mastomend.commands.instance import Instance
from mastomend.commands.places import place_of
from mastomend.inventory.crossing import Sides, Tally
from mastomend.inventory.taking_up import identity
from mastomend.mastodon.storage_settings import FilesystemStorage, Storage
from mastomend.state_files import private_folder, replace_text


def _memory(instance: Instance) -> Path:
    return instance.state / "migrations.json"


def remembered(instance: Instance, target: Storage) -> str | None:
    """The directory the media of that target came from, if it was one."""
    move = _moves(instance).get(place_of(target))
    root = move.get("root") if isinstance(move, dict) else None
    return root if isinstance(root, str) else None


def variables_before(instance: Instance, target: Storage) -> dict[str, str]:
    """What else the settings said of how the media were shown."""
    move = _moves(instance).get(place_of(target))
    found = move.get("variables") if isinstance(move, dict) else None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def directories_before(instance: Instance) -> list[Place]:
    """Where the media were before they were moved, as the journal calls it; not where they are now."""
    roots = [one.get("root") for one in _moves(instance).values() if isinstance(one, dict)]
    now = instance.configuration.storage
    places = (FilesystemStorage(root) for root in dict.fromkeys(roots) if isinstance(root, str))
    return [place_of(place) for place in places if identity(place) != identity(now)]


def _moves(instance: Instance) -> dict[str, object]:
    """What is remembered, by target."""
    try:
        found = json.loads(_memory(instance).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(instance: Instance, source: Storage, target: Storage, copied: Tally, seconds: float) -> None:
    """Write down where the media came from (of a bucket only its name), and how fast they went."""
    moves = _moves(instance)
    root = source.root if isinstance(source, FilesystemStorage) else None
    shown = {name: instance.variables[name] for name in ("PAPERCLIP_ROOT_URL",) if name in instance.variables}
    pace = {"files": copied.files, "bytes": copied.bytes, "seconds": round(seconds, 1)}
    moves[place_of(target)] = {"from": str(source), "root": root, "variables": shown, "pace": pace}
    private_folder(instance.state)
    replace_text(_memory(instance), json.dumps(moves, indent=2), 0o600)


def no_room(target: Storage, sides: Mapping[str, Sides]) -> list[str]:
    """Why a disk cannot take it."""
    if not isinstance(target, FilesystemStorage):
        return []
    needed = sum(one.to_copy.bytes for one in sides.values())
    free = shutil.disk_usage(target.root).free
    if needed <= free:
        return []
    return [f"{target} has {free / 1e6:,.0f} MB free; {needed / 1e6:,.0f} MB are to be copied."]
