"""What restores records in one run, built from the instance's settings: the edge of `repair`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from mastomend import __version__
from mastomend.actions.run import Run
from mastomend.commands.instance import Instance
from mastomend.commands.parts import Parts, named_storage
from mastomend.commands.repair_report import RepairOptions
from mastomend.database.instance_actor import actor_keys
from mastomend.database.reader import MastodonDatabase
from mastomend.database.rows import kinds_of
from mastomend.errors import ConfigurationError
from mastomend.mastodon.configuration import http_proxy
from mastomend.mastodon.kinds import Kind, choose_kinds
from mastomend.outcomes import Engine
from mastomend.progress import Progress
from mastomend.remote.client import GuardedClient
from mastomend.remote.signatures import Signer
from mastomend.restore.case import Means
from mastomend.restore.chain import Chain
from mastomend.restore.change import Changes
from mastomend.restore.policy import Policy
from mastomend.restore.sources.copies import Backup, CopySource, Elsewhere
from mastomend.restore.workshop import Workshop
from mastomend.storage.build import build as build_store
from mastomend.storage.ports import Store

_NO_REDIS = (
    "Mastodon's Redis cannot be reached: where a name changes, Mastodon may show the old one from its cache for a while "
    "(posts for ten minutes, emoji for seven days)."
)


@dataclass(frozen=True, slots=True)
class Restoration:
    """What restores records in one run; without a run nothing can be changed."""

    means: Means
    changes: Changes
    chain: Chain
    kinds: tuple[Kind, ...]


@contextlib.contextmanager
def restoration(
    instance: Instance, options: RepairOptions, parts: Parts, current: Run | None, progress: Progress
) -> Iterator[Restoration]:
    """Everything a repair works with, as its options say.

    Raises:
        ConfigurationError: a kind or a backup that is not there. SourceError: Redis does not answer, and is needed.
    """
    with contextlib.ExitStack() as stack:
        kinds = choose_kinds(options.kinds, kinds_of(parts.database))
        caches_answer = current is not None and parts.caches.reachable()
        if current is not None and not caches_answer:
            progress.note(_NO_REDIS)
            if options.engine is Engine.SIDEKIQ:
                parts.sidekiq.waiting()  # says what is wrong
        means = parts.means(caches_answer=caches_answer)
        policy = Policy(parts.database, instance.configuration, kinds)
        changes = Changes(current, means, policy, Workshop(means, policy))
        stack.callback(changes.close)
        sources = _copy_sources(instance, options, parts.store, stack, progress)
        chain = Chain(means, policy, changes, sources, others_convert=options.engine is not Engine.DIRECT)
        yield Restoration(means, changes, chain, kinds)


def _copy_sources(
    instance: Instance, options: RepairOptions, store: Store, stack: contextlib.ExitStack, progress: Progress
) -> list[CopySource]:
    elsewhere = Elsewhere(store, instance.key_prefix)
    if elsewhere.hidden:
        progress.note(elsewhere.hidden)
    sources: list[CopySource] = [elsewhere]
    for path in options.backups:
        settings = named_storage(path)
        if str(settings) == str(instance.configuration.storage):
            raise ConfigurationError(f"{path} is this server's own storage, not a backup of it.")
        backup = build_store(settings)
        stack.callback(backup.close)
        if not backup.probe():
            raise ConfigurationError(f"{settings}, named by {path}, is empty.", hint="Is the backup mounted?")
        sources.append(Backup(backup, settings.key_prefix, instance.key_prefix))
    return sources


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
