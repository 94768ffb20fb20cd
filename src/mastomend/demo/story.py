"""The story of the demo: a small instance, an admin out of disk space, broken pictures, and the way back.

Yields what happens as it happens; who shows it is somebody else's business.
"""

from __future__ import annotations

import fcntl
import random
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mastomend.commands.check import check
from mastomend.commands.check_report import CheckReport
from mastomend.commands.instance import open_instance
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions, RepairReport
from mastomend.demo.fediverse import Fediverse, Manners, Origin, fediverse
from mastomend.demo.instance import SimulatedInstance, simulated_instance
from mastomend.demo.pictures import picture
from mastomend.demo.services import postgres, s3_server
from mastomend.errors import ConfigurationError
from mastomend.mastodon.keys import Record
from mastomend.mastodon.kinds import AVATARS, EMOJIS, HEADERS, MEDIA_FILES
from mastomend.progress import Progress

_MARKER = ".mastomend-demo"
_ACCOUNTS_PER_ORIGIN = 20

_ORIGINS = (
    ("mastodon.example", Manners.GOOD, 0.01),
    ("photos.example", Manners.GOOD, 0.02),
    ("art.example", Manners.GOOD, 0.01),
    ("cats.example", Manners.REDIRECTING, 0.01),
    ("dogs.example", Manners.GOOD, 0.03),
    ("music.example", Manners.GOOD, 0.01),
    ("books.example", Manners.GOOD, 0.01),
    ("slow.example", Manners.SLOW, 0.8),
    ("snail.example", Manners.SLOW, 1.2),
    ("gone.example", Manners.GONE, 0.01),
    ("busy.example", Manners.RATE_LIMITED, 0.01),
    ("moved.example", Manners.MOVED, 0.01),
    ("parked.example", Manners.HTML, 0.01),
    ("tricky.example", Manners.PRIVATE_REDIRECT, 0.01),
)


@dataclass(frozen=True, slots=True)
class Told:
    """Something a person reads."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A check was made."""

    report: CheckReport
    env: Path


@dataclass(frozen=True, slots=True)
class Repaired:
    """A repair was made."""

    report: RepairReport
    env: Path


@dataclass(frozen=True, slots=True)
class Running:
    """Everything is still up; the story ends when the listener asks for more."""

    env: Path


Event = Told | Checked | Repaired | Running


def story(folder: Path, storage: str, progress: Progress) -> Generator[Event]:
    """Run the demo in `folder`, which is made new; `storage` is `disk` or `s3`.

    Raises:
        ConfigurationError: the folder holds something else, or a part of the demo is not installed.
    """
    folder = folder.absolute()
    with ExitStack() as stack:
        stack.enter_context(prepared(folder))
        yield Told("A small server", "Starting PostgreSQL, the storage and fourteen other servers of the fediverse.")
        socket_dir = stack.enter_context(postgres(folder / "postgres"))
        s3 = stack.enter_context(s3_server(folder / "s3")) if storage == "s3" else None
        network = stack.enter_context(fediverse())
        simulated = stack.enter_context(simulated_instance(folder, socket_dir, "4.5", s3=s3))
        instance = open_instance(simulated.env, folder / "state", {})
        populate(simulated, network)
        yield Told(
            "Life is good",
            f"{len(simulated.files):,} files: avatars, headers, emoji and pictures from {len(network.origins)} servers, "
            "and those of three people who live here.",
        )
        yield from break_media(simulated)
        yield Checked(check(instance, progress=progress), simulated.env)
        yield Told(
            "repair --apply",
            "Derived styles come from an original that is still there; the rest is fetched once from where it came from, at "
            "most two requests a second from each server. Where an address is dead, its server is asked for the new one.",
        )
        network.requests.clear()
        repaired = repair(instance, RepairOptions(apply=True), progress)
        yield Repaired(repaired, simulated.env)
        yield from _politeness(network)
        yield Told("check", "What is left, every file of it accounted for:")
        yield Checked(check(instance, progress=progress), simulated.env)
        yield Running(simulated.env)


@contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """The folder, made anew; nobody else makes it anew while its demo runs."""
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).exists():
        raise ConfigurationError(f"{folder} is not empty and was not made by a demo.", hint="Use --folder DIR.")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _MARKER).open("a") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"A demo is running in {folder}.", hint="End it with Ctrl-C, or use --folder DIR."
            ) from None
        for one in folder.iterdir():
            if one.name != _MARKER:
                shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink()
        yield


def populate(simulated: SimulatedInstance, network: Fediverse, each: int = _ACCOUNTS_PER_ORIGIN) -> None:
    """People here and, so many on each of them, on fourteen servers, with their pictures."""
    chance = random.Random(2023)
    seed = 0
    simulated.insert("accounts", id=-99, username="mastodon.internal", uri="", private_key=_new_key())
    for domain, manners, delay in _ORIGINS:
        origin = network.add(domain, manners, delay_s=delay)
        for n in range(each):
            seed += 1
            _account(simulated, origin, f"user{n}", seed, chance)
        for n in range(3):
            seed += 1
            url = _serve(origin, f"/emoji/{n}.png", picture(seed, 64, 64))
            data = origin.files[f"/emoji/{n}.png"]
            simulated.add_image(EMOJIS, data, remote_url=url, domain=domain, shortcode=f"blob{n}")
        if manners is Manners.MOVED:
            origin.files = {f"/new{path}": data for path, data in origin.files.items()}
        moved = "/new" if manners is Manners.MOVED else ""
        for n in range(each):  # what the origin itself says about its people now
            pictures = {"icon": f"{moved}/avatars/user{n}", "image": f"{moved}/headers/user{n}"}
            shown = {p: {"type": "Image", "url": origin.url(u)} for p, u in pictures.items() if u in origin.files}
            origin.publish(f"/users/user{n}", {"type": "Person", **shown})
    for name in ("alice", "bob", "carol"):
        seed += 1
        owner, _ = simulated.add_image(AVATARS, picture(seed), username=name, uri=f"https://example.social/{name}")
        simulated.add_image(MEDIA_FILES, picture(seed + 1000, 600, 400, "jpeg"), account_id=owner, shortcode=name)


def _new_key() -> str:
    """A key for the instance actor, which signs what is asked of others."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, bare = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, bare).decode()


def _serve(origin: Origin, path: str, data: bytes) -> str:
    origin.files[path] = data
    return origin.url(path)


def _account(simulated: SimulatedInstance, origin: Origin, name: str, seed: int, chance: random.Random) -> None:
    form = chance.choice(["png", "jpeg", "jpeg", "webp"])
    avatar = picture(seed, 400, 400, form)
    identity: dict[str, Any] = {
        "username": name,
        "uri": origin.url(f"/users/{name}"),
        "domain": origin.domain,
    }
    url = _serve(origin, f"/avatars/{name}", avatar)
    made = simulated.produced(HEADERS, picture(seed + 5000, 600, 200, "jpeg"))
    header_columns: dict[str, Any] = {}
    if chance.random() < 0.5:
        header_url = _serve(origin, f"/headers/{name}", made.original)
        header_columns = {
            **simulated.attachment(HEADERS, made, simulated.name("jpeg")),
            "header_remote_url": header_url,
        }
    new, _ = simulated.add_image(AVATARS, avatar, remote_url=url, **identity, **header_columns)
    if header_columns:
        file_name = str(header_columns["header_file_name"])
        record = Record(new, False, file_name, made.content_type, len(made.original), 1)
        simulated.store(HEADERS, record, made.files)
    if chance.random() < 0.2:
        data = picture(seed + 9000, 640, 480, "jpeg")
        url = _serve(origin, f"/media/{name}", data)
        simulated.add_image(MEDIA_FILES, data, remote_url=url, account_id=new)


def break_media(simulated: SimulatedInstance) -> Iterator[Event]:
    """What the admin did: files deleted by hand, and some cut off when the disk ran full."""
    chance = random.Random(7)
    cached = sorted(k for k in simulated.files if k.startswith("cache/"))
    victims = chance.sample(cached, len(cached) // 5)
    cut = victims[: len(victims) // 6]
    for key in victims:
        if key in cut and "/original/" in key:
            simulated.media.write(key, simulated.files[key][: len(simulated.files[key]) // 3])
        else:
            simulated.media.delete(key)
    yield Told(
        "The disk is full",
        f"The admin deletes cached files by hand: {len(victims):,} of them are gone or cut off. Mastodon never looks "
        "again, so these pictures stay broken for good.",
    )


def _politeness(network: Fediverse) -> Iterator[Event]:
    busiest = max(network.origins.values(), key=lambda origin: origin.most_active)
    hosts = len({request.host for request in network.requests})
    yield Told(
        "Fair to others",
        f"{len(network.requests):,} requests went to {hosts} servers, never more than {busiest.most_active} at once to "
        "the same one.",
    )
