"""A run of its own for tests of what runs promise: real locks, a real journal, the whole world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from conftest import opened

from mastomend.actions.actions import Action, Place
from mastomend.actions.journal import Journal
from mastomend.actions.plan import Plan, Rule
from mastomend.actions.run import Hold, Run, run
from mastomend.actions.world import World
from mastomend.commands.parts import changing_parts, ground
from mastomend.demo.instance import SimulatedInstance
from mastomend.outcomes import Restored, Verdict
from mastomend.reasons import Reason
from mastomend.storage.ports import Store
from mastomend.vocabulary import RowOf, Subject

RECORD = RowOf("accounts/avatars", 1)
RESTORED = Restored(Reason.RESTORED)


def plan(
    *actions: Action,
    subject: Subject = RECORD,
    rule: Rule = Rule.MEND,
    verdict: Verdict = RESTORED,
) -> Plan:
    """A plan of those actions."""
    return Plan(subject, verdict, actions, rule)


@contextmanager
def a_run(
    instance: SimulatedInstance,
    name: str = "run",
    *,
    hold: Hold = Hold.EXCLUSIVE,
    places: Mapping[Place, Store] = MappingProxyType({}),
) -> Iterator[tuple[Run, Journal, World]]:
    """A run that has begun; `places` are storages beside the instance's own."""
    here = opened(instance)
    with (
        ground(here, name, lambda text: None) as where,
        run(where, "test", "all", name, hold=hold) as made,
        changing_parts(here) as parts,
    ):
        world = parts.world()
        world = replace(world, places={**world.places, **places})
        made.begin(world)
        yield made, where.journal, world
