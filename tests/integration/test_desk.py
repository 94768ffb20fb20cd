"""The desk takes batches and single records at once, and a source is ten lines: what a service will stand on."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from broken import Made, record
from conftest import MakeInstance, opened
from runs import a_run

from mastomend.actions.deferral import Deferral
from mastomend.actions.journal import Journal
from mastomend.actions.ledger import Ledger
from mastomend.commands.parts import changing_parts
from mastomend.commands.restoration import client_of
from mastomend.demo.fediverse import Fediverse, Manners
from mastomend.demo.instance import SimulatedInstance
from mastomend.errors import JournalError
from mastomend.mastodon.kinds import AVATARS, HEADERS, KINDS, Kind
from mastomend.outcomes import Engine, Source
from mastomend.progress import Silent
from mastomend.reasons import Reason
from mastomend.remote.admission import Politeness
from mastomend.remote.asking import Ask, Fetched, NotFetched
from mastomend.remote.client import GuardedClient
from mastomend.restore.case import Broken, Case, Gate, NoOffer, Offers, Received, Wait, Way
from mastomend.restore.case import Source as Asked
from mastomend.restore.chain import Chain
from mastomend.restore.change import Changes
from mastomend.restore.closing import Closing
from mastomend.restore.desk import Desk
from mastomend.restore.gates import Gates
from mastomend.restore.order import Sources, usual
from mastomend.restore.policy import Policy
from mastomend.restore.sources.copies import Backup, Elsewhere
from mastomend.restore.sources.mastodon import HandOverLimits, Mastodon
from mastomend.restore.workshop import Workshop
from mastomend.vocabulary import Done

USUAL = """\
accounts/avatars: original, elsewhere, backup, origin, actor
accounts/headers: original, elsewhere, backup, origin, actor
media_attachments/files: original, elsewhere, backup, origin, note
media_attachments/thumbnails: elsewhere, backup, origin, note
custom_emojis/images: original, elsewhere, backup, origin, actor
preview_cards/images: elsewhere, backup, page
preview_card_providers/icons: original, elsewhere, backup
site_uploads/files: original, elsewhere, backup
backups/dumps: elsewhere, backup
imports/data: elsewhere, backup
"""
WITH_WORKERS = """\
accounts/avatars: original, elsewhere, backup, mastodon, origin, actor
accounts/headers: original, elsewhere, backup, mastodon, origin, actor
media_attachments/files: original, elsewhere, backup, mastodon, origin, note
media_attachments/thumbnails: elsewhere, backup, mastodon, origin, note
custom_emojis/images: original, elsewhere, backup, origin, actor
preview_cards/images: elsewhere, backup, page
preview_card_providers/icons: original, elsewhere, backup
site_uploads/files: original, elsewhere, backup
backups/dumps: elsewhere, backup
imports/data: elsewhere, backup
"""


@dataclass(frozen=True)
class Peer:
    """Another server that keeps copies of the same files."""

    address: str
    name: Source = Source.ELSEWHERE
    asks_others: bool = True

    def serves(self, kind: Kind) -> bool:
        return kind is AVATARS

    def offers(self, case: Case) -> Offers:
        answer = yield Ask(f"{self.address}/{case.target.files[0].key}", 1_000_000)
        return Received(answer.data) if isinstance(answer, Fetched) else NoOffer("the peer has it not")


@dataclass
class Table:
    """A desk with everything behind it."""

    chain: Chain
    closing: Closing
    desk: Desk
    journal: Journal
    decided: list[int] = field(default_factory=list)

    def ways(self, kind: Kind, *ids: int) -> list[Way]:
        return self.chain.ways([Broken(kind, one) for one in ids], self.closing)


POLITE = Politeness(rate=20.0, per_host=1, backoff_s=0.01)


@contextmanager
def laid(instance: SimulatedInstance, politeness: Politeness = POLITE, peer: Asked | None = None) -> Iterator[Table]:
    """A run, its sources and a desk: what a service would build once."""
    here = opened(instance)
    with a_run(instance) as (run, journal, _), changing_parts(here) as parts:
        means = parts.means(caches_answer=False)
        policy = Policy(parts.database, here.configuration, KINDS)
        changes = Changes(run, means, policy, Workshop(means, policy))
        sources = usual(means, policy, [])
        chain = Chain(means, policy, changes, sources if peer is None else sources.before_strangers(peer))
        closing = Closing(run, Ledger(journal, Deferral()), lambda: datetime.now(UTC))
        client = client_of(here, parts.database, Silent())
        yield Table(chain, closing, Desk(client, politeness, 3, chance=random.Random(1)), journal)
        changes.close()


async def healed_meanwhile(
    table: Table, many: Sequence[Made], kind: Kind, seen: Made
) -> tuple[list[Done | None], Done | None, int]:
    """A batch of avatars, and one record somebody looks at once some of them have ended: all ends, and how many came first."""
    ended: list[Done | None] = []
    async with table.desk as desk:

        async def batch() -> None:
            async for done in desk.all(iter([table.ways(AVATARS, *(one.id for one in many))])):
                ended.append(done)

        under_way = asyncio.create_task(batch())
        while len(ended) < 5:
            await asyncio.sleep(0.01)
        healed = await desk.ask(*table.ways(kind, seen.id))
        before = len(ended)
        await under_way
    return ended, healed, before


def test_one_record_is_healed_while_a_batch_runs(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("busy.example")
    many = [record(instance, origin=origin, damage="missing") for _ in range(40)]
    seen = record(instance, HEADERS, origin=origin, damage="missing", name="seen")

    with laid(instance) as table:
        ended, healed, before = asyncio.run(healed_meanwhile(table, many, HEADERS, seen))
        outcomes = {done.subject: done.verdict.reason for done in table.journal.outcomes("run")}
    assert healed is not None and healed.verdict.reason is Reason.RESTORED
    assert instance.media.read(seen.key) == instance.files[seen.key]
    assert len(ended) == 40 and all(done is not None and done.verdict.reason is Reason.RESTORED for done in ended)
    assert before < 20, "who looks at a picture does not wait for the batch"
    assert len(outcomes) == 41 and set(outcomes.values()) == {Reason.RESTORED}, "both are in the journal"
    asked = [request.path for request in network.requests]
    assert asked.index("/seen") < 20 and len(asked) == 41, "before all others of its host, and each asked once"


def test_a_source_is_ten_lines(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin, peer = network.add("gone.example"), network.add("peer.example")
    kept, missing, local = (record(instance, origin=o, damage="missing") for o in (origin, origin, None))
    origin.files.clear()
    peer.files[f"/{kept.key}"] = kept.data
    with laid(instance, peer=Peer(peer.url(""))) as table:

        async def mended() -> list[Done | None]:
            async with table.desk as desk:
                ways = table.ways(AVATARS, kept.id, missing.id, local.id)
                return [await desk.ask(way) for way in ways]

        ended = {done.subject.id: done.verdict for done in asyncio.run(mended()) if done is not None}  # type: ignore[union-attr]
    assert ended[kept.id].reason is Reason.RESTORED and ended[kept.id].source is Source.ELSEWHERE
    assert instance.media.read(kept.key) == instance.files[kept.key]
    assert ended[missing.id].reason is Reason.NOT_FOUND
    assert ended[missing.id].tried.startswith("elsewhere: the peer has it not; origin: not_found")
    assert ended[local.id].reason is Reason.LOCAL, (
        "moderation and ownership are asked before any source that asks others"
    )
    assert not [request for request in network.requests if str(local.key) in request.path]


def test_a_host_that_was_given_up_is_asked_again_after_a_time(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("down.example")
    origin.manners = Manners.BROKEN
    first, second, third = (record(instance, origin=origin, damage="missing") for _ in range(3))
    politeness = Politeness(rate=0.0, backoff_s=0.01, give_up_after=1, give_up_s=0.5, tries=1)
    with laid(instance, politeness) as table:

        async def asked() -> list[Done | None]:
            async with table.desk as desk:
                ended = [await desk.ask(*table.ways(AVATARS, one.id)) for one in (first, second)]
                origin.manners = Manners.GOOD
                await asyncio.sleep(0.6)
                return [*ended, await desk.ask(*table.ways(AVATARS, third.id))]

        reasons = [done.verdict.reason for done in asyncio.run(asked()) if done is not None]
    assert reasons == [Reason.SERVER_ERROR, Reason.SERVER_ERROR, Reason.RESTORED]
    assert len([r for r in network.requests if r.host == origin.address]) == 2, "while it is given up nobody asks it"


def test_the_trouble_of_all_reaches_who_asked_and_ends_the_batch(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    made = [record(instance, origin=origin, damage="missing") for _ in range(6)]
    really = Closing.close

    def close(self: Closing, done: Done | None) -> Done | None:
        if done is not None and done.subject.id in (made[0].id, made[3].id):  # type: ignore[union-attr]
            raise JournalError("the disk is full")
        return really(self, done)

    monkeypatch.setattr(Closing, "close", close)
    with laid(instance) as table:

        async def mended() -> None:
            async with table.desk as desk:
                with pytest.raises(JournalError):
                    await desk.ask(*table.ways(AVATARS, made[0].id))
                done = await desk.ask(*table.ways(AVATARS, made[1].id))
                assert done is not None and done.verdict.reason is Reason.RESTORED, "the others are not concerned"
                async for _ in desk.all(iter([table.ways(AVATARS, *(one.id for one in made[2:]))])):
                    pass

        with pytest.raises(JournalError):
            asyncio.run(mended())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("restore")], "all threads are gone"


def test_who_was_asked_about_a_record_is_asked_on_about_it(make_instance: MakeInstance, network: Fediverse) -> None:
    """Records end one after the other, also where each needs several questions: what is cut off after a while has kept most
    of what it had asked for.
    """
    instance = make_instance()
    origin = network.add("moved.example")
    many = []
    for n in range(20):
        actor = origin.url(f"/users/u{n}")
        made = record(instance, origin=origin, damage="missing", name=f"u{n}", row={"uri": actor})
        origin.files[f"/new/u{n}"] = origin.files.pop(f"/u{n}")
        origin.publish(f"/users/u{n}", {"type": "Person", "icon": {"type": "Image", "url": origin.url(f"/new/u{n}")}})
        many.append(made)
    with laid(instance) as table:

        async def some() -> int:
            ended = 0
            async with table.desk as desk:
                async for _ in desk.all(iter([table.ways(AVATARS, *(one.id for one in many))])):
                    ended += 1
                    if len(network.requests) >= 30:  # half of the sixty
                        break
            return ended

        assert asyncio.run(some()) >= 8


def test_whoever_waits_may_go_away(make_instance: MakeInstance, network: Fediverse) -> None:
    """A browser closes its connection; the record is mended all the same, and the desk goes on."""
    instance = make_instance()
    origin = network.add("slow.example")
    origin.delay_s = 0.3
    made = [record(instance, origin=origin, damage="missing") for _ in range(2)]
    with laid(instance) as table:

        async def mended() -> None:
            async with table.desk as desk:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(desk.ask(*table.ways(AVATARS, made[0].id)), 0.1)
                await desk.ask(*table.ways(AVATARS, made[1].id))

        asyncio.run(mended())
    assert [instance.media.read(one.key) is not None for one in made] == [True, True]


def test_a_record_is_under_way_once(make_instance: MakeInstance, network: Fediverse) -> None:
    """Somebody looks at what the batch has queued: it is asked for once, soon, and both hear the same end."""
    instance = make_instance()
    origin = network.add("busy.example")
    many = [record(instance, origin=origin, damage="missing") for _ in range(30)]
    seen = many[-1]

    with laid(instance) as table:
        ended, healed, before = asyncio.run(healed_meanwhile(table, many, AVATARS, seen))
        assert len(list(table.journal.outcomes("run"))) == 30
    assert healed is not None and healed in ended and len(ended) == 30 and before < 15
    asked = [request.path for request in network.requests]
    assert len(asked) == 30 and asked.count(f"/{seen.name}") == 1 and asked.index(f"/{seen.name}") < 15


def test_whoever_waits_when_the_desk_is_closed_hears_so(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("hanging.example", Manners.HANGING)
    made = [record(instance, origin=origin, damage="missing") for _ in range(5)]
    with laid(instance) as table:

        async def left() -> list[object]:
            async def batch() -> None:
                async for _ in table.desk.all(iter([table.ways(AVATARS, *(one.id for one in made[1:]))])):
                    pass

            async with table.desk as desk:
                waiting = [
                    asyncio.create_task(desk.ask(*table.ways(AVATARS, made[0].id))),
                    asyncio.create_task(batch()),
                ]
                await asyncio.sleep(0.2)
            ends: list[object] = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
            (late,) = table.ways(AVATARS, made[0].id)
            return [*ends, *await asyncio.gather(table.desk.ask(late), return_exceptions=True)]

        ends = asyncio.run(left())
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3


def test_a_batch_nobody_listens_to_any_more_asks_nobody(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("busy.example")
    many = [record(instance, origin=origin, damage="missing") for _ in range(40)]
    with laid(instance) as table:

        async def some() -> None:
            async with table.desk as desk:
                all_of_them = desk.all(iter([table.ways(AVATARS, *(one.id for one in many))]))
                async for _ in all_of_them:
                    break
                await all_of_them.aclose()  # type: ignore[attr-defined]
                await asyncio.sleep(0.5)  # ten would be asked for

        asyncio.run(some())
    assert len(network.requests) <= 4


@dataclass(eq=False)
class Turnstile:
    """Lets a few through each time it is asked, or is broken."""

    each: int
    patience_s: float
    poll_s: float = 0.01
    name: Source = Source.ELSEWHERE
    asks_others: bool = False
    asked: int = 0
    through: list[int] = field(default_factory=list)

    def open_for(self, wanted: int) -> int:
        self.asked += 1
        if self.each < 0:
            raise ZeroDivisionError("a defect of ours")
        return min(wanted, self.each)

    def serves(self, kind: Kind) -> bool:
        return True

    def offers(self, case: Case) -> Offers:
        through = yield Wait(self)
        if through is True:
            self.through.append(case.target.row.record.id)
        return NoOffer("" if through else "closed", is_last=True)


@pytest.mark.parametrize("each", [4, 0, -1])
def test_before_a_gate_everybody_has_a_turn(make_instance: MakeInstance, network: Fediverse, each: int) -> None:
    """For as long as anybody gets through; what goes wrong there is each record's outcome."""
    instance = make_instance()
    origin = network.add("a.example")
    many = [record(instance, origin=origin, damage="missing").id for _ in range(20)]
    gate = Turnstile(each, 0.05)
    with laid(instance, peer=gate) as table:

        async def all_of_them() -> list[Done | None]:
            async with table.desk as desk:
                return [done async for done in desk.all(iter([table.ways(AVATARS, *many)]))]

        ended = asyncio.run(all_of_them())
    reasons = Counter(done.verdict.reason for done in ended if done is not None)
    if each > 0:
        assert sorted(gate.through) == many and gate.asked >= 5 and not network.requests
    else:
        assert reasons == {Reason.NO_URL if each == 0 else Reason.INTERNAL_ERROR: 20}


def test_the_first_goes_first_and_a_gate_is_asked_once_for_all() -> None:
    gate, through = Turnstile(4, 1.0), list[object]()

    async def asked(gate: Gate, wanted: int) -> int:
        return gate.open_for(wanted)

    async def all_of_them() -> None:
        gates: Gates[int] = Gates(asked, lambda one, answer: through.append((one, answer)), time.monotonic)
        (watch,) = [found for number in range(10) if (found := gates.stand(gate, number)) is not None]
        assert gates.waiting == 10
        await watch
        assert gates.waiting == 0

    asyncio.run(all_of_them())
    assert (through, gate.asked) == ([(number, True) for number in range(10)], 3)


def test_a_defect_of_the_client_is_one_record_s_and_the_host_is_asked_on(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    origin = network.add("good.example")
    made = [record(instance, origin=origin, damage="missing") for _ in range(3)]
    really = GuardedClient.get

    async def get(self: GuardedClient, ask: Ask) -> Fetched | NotFetched:
        if ask.url.endswith(f"/{made[0].name}"):
            raise LookupError("a defect of ours")
        return await really(self, ask)

    monkeypatch.setattr(GuardedClient, "get", get)
    with laid(instance) as table:

        async def mended() -> list[Done | None]:
            async with table.desk as desk:
                return [await desk.ask(*table.ways(AVATARS, one.id)) for one in made]

        reasons = [done.verdict.reason for done in asyncio.run(mended()) if done is not None]
    assert reasons == [Reason.INTERNAL_ERROR, Reason.RESTORED, Reason.RESTORED]


def test_the_order_of_sources_is_kindness(make_instance: MakeInstance) -> None:
    """What is tried for each kind, in this order (product.md): what costs nobody anything first."""
    here = opened(make_instance("4.2"))
    with changing_parts(here) as parts:
        means = parts.means(caches_answer=False)
        policy = Policy(parts.database, here.configuration, KINDS)
        sources = usual(means, policy, [Elsewhere(parts.store, ""), Backup(parts.store, "", "")])
        workers = Mastodon(Engine.SIDEKIQ, means, HandOverLimits(), None)
    assert order(sources) == USUAL
    assert order(sources.before_strangers(workers)) == WITH_WORKERS


def order(sources: Sources) -> str:
    def names(kind: Kind) -> str:
        return ", ".join("mastodon" if isinstance(one, Mastodon) else one.name for one in sources.of(kind))

    return "".join(f"{kind.name}: {names(kind)}\n" for kind in KINDS)
