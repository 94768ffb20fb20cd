"""What restores records in one run, built from the instance's settings: the edge of `repair`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mastomend import __version__
from mastomend.actions.ledger import Ledger
from mastomend.commands.instance import Instance
from mastomend.commands.parts import Parts, named_storage
from mastomend.commands.repair_report import NO_REDIS_YET, RepairOptions
from mastomend.database.instance_actor import actor_keys
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of, require_to_repair, unchangeable
from mastomend.errors import ConfigurationError, MastomendError
from mastomend.mastodon.configuration import http_proxy
from mastomend.mastodon.keys import CACHE, below
from mastomend.mastodon.kinds import Kind, choose_kinds
from mastomend.mastodon.storage_settings import FilesystemStorage
from mastomend.outcomes import Engine
from mastomend.progress import Progress
from mastomend.remote.client import GuardedClient
from mastomend.remote.signatures import Signer
from mastomend.restore.chain import Chain
from mastomend.restore.change import Changes
from mastomend.restore.closing import Closing
from mastomend.restore.order import usual
from mastomend.restore.policy import Policy
from mastomend.restore.sources.copies import Backup, Elsewhere, Shelf
from mastomend.restore.sources.mastodon import Mastodon
from mastomend.restore.workshop import Workshop
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Mounts, Store

Resting = Callable[[str, Mapping[int, str | None]], Mapping[int, str]]
#: So few free bytes are as good as none.
_ROOM = 1_000_000


@dataclass(frozen=True, slots=True)
class Restoration:
    """What restores records in one run. `kinds` in the order in which they are worked on; `mastodon` where it is to fetch.

    `caches_answer`: Mastodon's Redis can be reached, so that it is told of new names. `barred` is why nothing may be changed.
    """

    chain: Chain
    kinds: tuple[Kind, ...]
    mastodon: Mastodon | None
    caches_answer: bool = True
    barred: MastomendError | None = None


def resting(options: RepairOptions, ledger: Ledger | None, now: Callable[[], datetime]) -> Resting:
    """Which records no stranger is asked for yet."""
    if ledger is None or options.again or options.deferred:
        return lambda kind, files: {}
    return lambda kind, files: ledger.resting(kind, files, now())


@contextlib.contextmanager
def restoration(
    instance: Instance,
    options: RepairOptions,
    parts: Parts,
    closing: Closing | None,
    progress: Progress,
    rests: Resting = lambda kind, files: {},
) -> Iterator[Restoration]:
    """Everything a repair works with, as its options say. Without `closing` nothing can be changed.

    Raises:
        ConfigurationError: a kind or a backup that is not there. SourceError: Redis does not answer, and is needed.
    """
    limited_federation = instance.configuration.limits.limited_federation
    with contextlib.ExitStack() as stack:
        kinds = choose_kinds(options.kinds, kinds_of(parts.database), but=options.but_kinds)
        barred, said = unchangeable(parts.database, kinds), unwritable(parts.store, kinds, instance.key_prefix)
        try:
            require_to_repair(parts.database, kinds, options.selection, limited=limited_federation)
        except MastomendError as unseen:  # whoever lacks one right is told all of them at once
            if barred is not None and unseen.statements and closing is not None:
                unseen.statements += barred.statements
            raise and_unwritable(unseen, said) from None
        if options.engine is Engine.SIDEKIQ:
            parts.sidekiq.waiting()  # says what is wrong
        answers = parts.caches.reachable()
        if not answers:
            progress.note(NO_REDIS_YET)
        caches_answer = closing is not None and answers
        if barred is not None:
            if closing is not None:
                raise and_unwritable(barred, said)
            said_barred(barred, progress)
        if said:
            progress.note(f"{said}: run it as that user. What is broken there is left alone.")
        if said := full(instance):
            progress.note(
                f"{said} A repair stops at the first file that does not fit in; see usage for what to let go."
            )
        means = parts.means(caches_answer=caches_answer)
        policy = Policy(parts.database, instance.configuration, kinds)
        changes = Changes(None if closing is None else closing.run, means, policy, Workshop(means, policy))
        stack.callback(changes.close)
        sources = usual(means, policy, _places(instance, options, parts.store, stack, progress))
        mastodon = None
        if options.engine is not Engine.DIRECT:
            mastodon = Mastodon(options.engine, means, options.hand_over, closing)
            sources = sources.before_strangers(mastodon)
            kinds = tuple(sorted(kinds, key=lambda kind: not mastodon.serves(kind)))  # its workers begin while we go on
        yield Restoration(
            Chain(means, policy, changes, sources, rests, writes=options.engine is Engine.DIRECT),
            kinds,
            mastodon,
            caches_answer,
            barred,
        )


def and_unwritable(barred: MastomendError, said: str) -> MastomendError:
    """Whoever lacks rights in the database is told at once that these alone would not help."""
    if not said:
        return barred
    told = f"{barred.message} {said}."
    return type(barred)(
        told, hint=f"Rights alone do not help: run it as that user. {barred.hint}", statements=barred.statements
    )


def said_barred(barred: MastomendError, progress: Progress) -> None:
    """What would stop `--apply`, said before it is tried; each statement on a line of its own, to be copied."""
    progress.note(f"With --apply this stops: {barred.message} {barred.hint}")
    for statement in barred.statements:
        progress.note(statement)


def unwritable(store: Store, kinds: Sequence[Kind], key_prefix: str) -> str:
    """Why this user may not write where files of those kinds are, the first of them; '' if it may."""
    if not isinstance(store, Mounts):
        return ""
    base = below(key_prefix)
    folders = (f"{base}{part}{kind.name}" for kind in kinds for part in (CACHE, ""))
    said = next((said for folder in folders if (said := store.unwritable(folder))), "")
    return f"{said[:1].upper()}{said[1:]}"


def full(instance: Instance) -> str:
    """That next to nothing can be written to the disk the media are on; '' if there is room."""
    storage = instance.configuration.storage
    if not isinstance(storage, FilesystemStorage):
        return ""
    try:
        free = shutil.disk_usage(storage.root).free
    except OSError:  # whoever needs it says why
        return ""
    return f"The disk of the media is full: {free / 1e6:.1f} MB are free." if free < _ROOM else ""


def _places(
    instance: Instance, options: RepairOptions, store: Store, stack: contextlib.ExitStack, progress: Progress
) -> list[Shelf]:
    elsewhere = Elsewhere(store, instance.key_prefix)
    if elsewhere.hidden:
        progress.note(elsewhere.hidden)
    places: list[Shelf] = [elsewhere]
    for path in options.backups:
        settings = named_storage(path)
        if str(settings) == str(instance.configuration.storage):
            raise ConfigurationError(f"{path} is this server's own storage, not a backup of it.")
        backup = build_store(settings)
        stack.callback(backup.close)
        if not backup.probe():
            raise ConfigurationError(f"{settings}, named by {path}, is empty.", hint="Is the backup mounted?")
        places.append(Backup(backup, settings.key_prefix, instance.key_prefix))
    return places


def client_of(instance: Instance, database: MastodonDatabase, progress: Progress) -> GuardedClient:
    """What asks other servers, signed if the instance actor has a key."""
    configuration = instance.configuration
    keys, why_not = actor_keys(database, configuration.web_domain, instance.variables)
    actor = next((made for made in (Signer.from_pem(*key) for key in keys) if made is not None), None)
    if actor is None:
        progress.note(
            f"Requests are not signed: {why_not}. Servers in secure mode will not show their posts and actors."
        )
    return GuardedClient(
        f"Mastomend/{__version__} (+https://{configuration.web_domain}/)",
        configuration.limits.allowed_private_addresses,
        proxy=http_proxy(instance.variables),
        signer=actor,
    )
