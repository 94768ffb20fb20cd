"""What is selected is decided in PostgreSQL: what is not selected never leaves it, and is not looked up."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened
from tool import run

from mastomend.commands.check import CheckOptions, check
from mastomend.commands.scanning import Look, scanning
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.errors import ConfigurationError
from mastomend.inventory.findings import load
from mastomend.mastodon.kinds import AVATARS, EMOJIS, MEDIA_FILES, PREVIEW_CARDS, SITE_UPLOADS
from mastomend.mastodon.selection import Account, Selection, parse_account
from mastomend.progress import Silent
from mastomend.storage.objects import S3ObjectStore
from mastomend.storage.ports import UNREADABLE

DOMAINS = (None, "a.example", "sub.a.example", "xa.example", "ä.example")


def populated(instance: SimulatedInstance) -> dict[str, int]:
    """An avatar, a medium in a post with a card, and an emoji for each domain, all missing; a site upload. Ids by name."""
    ids: dict[str, int] = {}
    for number, domain in enumerate(DOMAINS):
        name = domain or "local"
        owner = record(instance, AVATARS, domain=domain, name=f"User{number}", damage="missing").id
        status = instance.insert("statuses", account_id=owner, uri=f"https://{name}/s", url=f"https://{name}/@u/s")
        url = None if domain is None else f"https://{name}/m"
        medium = record(
            instance, MEDIA_FILES, remote_url=url, account_id=owner, status_id=status, shortcode=name, damage="missing"
        )
        card = record(instance, PREVIEW_CARDS, url=f"https://{name}/page", damage="missing")
        instance.db.execute("INSERT INTO preview_cards_statuses VALUES (%s, %s)" if "url" not in
                            instance.columns("preview_cards_statuses") else
                            "INSERT INTO preview_cards_statuses (preview_card_id, status_id) VALUES (%s, %s)",
                            [card.id, status])  # fmt: skip
        emoji = record(instance, EMOJIS, domain=domain, name=f"e{number}", damage="missing")
        ids |= {f"{name} owner": owner, f"{name} status": status, f"{name} medium": medium.id, f"{name} card": card.id}
        ids[f"{name} emoji"] = emoji.id
    keys = instance.add_plain(SITE_UPLOADS, b"x", "a.png", "image/png", var="mascot")
    instance.media.delete(keys[0])
    return ids


def found(instance: SimulatedInstance, selection: Selection) -> set[tuple[str, int]]:
    """Kinds and ids of what a check of that selection finds; it must not count anything else."""
    report = check(opened(instance), CheckOptions(selection=selection, max_missing_percent=100))
    records = {(finding.kind, finding.id) for finding in load(report.findings)}
    assert sum(kind.records for kind in report.kinds) == len(records), "what is not selected is not even read"
    return records


@pytest.mark.parametrize("version", ["4.2", "4.7"])
def test_what_is_selected(make_instance: MakeInstance, version: str) -> None:
    instance = make_instance(version)
    ids = populated(instance)
    instance.media.write("cache/kept", b"x")

    def of(name: str, *what: str) -> set[tuple[str, int]]:
        kinds = {"owner": AVATARS, "medium": MEDIA_FILES, "emoji": EMOJIS, "card": PREVIEW_CARDS}
        return {(kinds[one].name, ids[f"{name} {one}"]) for one in what}

    whole = ("owner", "medium", "emoji", "card")
    assert found(instance, Selection(domains=("a.example",))) == of("a.example", *whole) | of("sub.a.example", *whole)
    assert found(instance, Selection(domains=("Ä.example", "xa.example"))) == of("ä.example", *whole) | of(
        "xa.example", *whole
    )
    own = (Account("user0", None), Account("user2", "sub.a.example"))
    assert found(instance, Selection(accounts=own)) == of("local", "owner", "medium") | of(
        "sub.a.example", "owner", "medium"
    )
    for unknown in (Account("user2", None), Account("user0", "a.example")):
        with pytest.raises(ConfigurationError, match=f"does not know @{unknown.username}"):
            found(instance, Selection(accounts=(*own, unknown)))
    with pytest.raises(ConfigurationError, match=r"does not know https://xa\.example/x or 12"):
        found(instance, Selection(statuses=("https://xa.example/x", "12", str(ids["a.example status"]))))
    posts = (str(ids["a.example status"]), "https://xa.example/s", "https://local/@u/s")
    wanted = [of(name, "medium", "card") for name in ("a.example", "xa.example", "local")]
    assert found(instance, Selection(statuses=posts)) == set().union(*wanted)
    everything = found(instance, Selection())
    local, remote = found(instance, Selection(local=True)), found(instance, Selection(local=False))
    assert local | remote == everything and not local & remote
    assert of("local", "owner", "medium", "emoji") <= local and of("local", "card") <= remote, (
        "a preview card is always remote"
    )
    without = found(instance, Selection(without_domains=("a.example", "ä.example")))
    gone = [of(name, *whole) for name in ("a.example", "sub.a.example", "ä.example")]
    assert without == everything - set().union(*gone), "what has no domain stays"
    with pytest.raises(ConfigurationError, match=r"No record with a file is selected by a\.example, local"):
        found(instance, Selection(domains=("a.example",), local=True))


def test_a_scan_of_another_selection_is_not_gone_on_with(make_instance: MakeInstance) -> None:
    instance = make_instance()
    record(instance, AVATARS, domain="a.example", damage="missing", name="u")
    selection = Selection(domains=("a.example",), accounts=(Account("u", "a.example"),))

    class StopsError(Exception):
        pass

    def stop(_: float) -> None:
        raise StopsError

    (instance.folder / "mastomend.toml").write_text("settle_seconds = 5\n")
    first = CheckOptions(selection=Selection(domains=("a.example",)))
    with pytest.raises(StopsError):
        check(opened(instance), first, sleep=stop)
    (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n")
    assert not check(opened(instance), CheckOptions(selection=selection)).resumed
    assert not check(opened(instance)).resumed
    assert check(opened(instance), first).resumed


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("@User@Host.Example", Account("user", "host.example")),
        ("user@host.example", Account("user", "host.example")),
        ("@me", Account("me", None)),
        ("@me@OWN.example", Account("me", None)),
        ("https://host.example/@User", Account("user", "host.example")),
        ("https://host.example/users/user/", Account("user", "host.example")),
        ("https://own.example/@user@host.example", Account("user", "host.example")),
        ("https://own.example/@me", Account("me", None)),
        ("https://host.example/@user?from=there#top", Account("user", "host.example")),
    ],
)
def test_accounts_as_people_write_them(text: str, account: Account) -> None:
    assert parse_account(text, ["own.example"]) == account


@pytest.mark.parametrize("text", ["", "@", "@@host", "a@b@c", "a b@c", "https://host/user", "https://host/@user/1"])
def test_what_is_no_account(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no account"):
        parse_account(text, [])


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("usage",),
        ("prune", "--avatars", "1d"),
        ("repair",),
        ("migrate", "plan", "--to", "DIR"),
    ],
)
def test_a_server_nobody_knows_is_no_success(
    make_instance: MakeInstance, network: Fediverse, tmp_path: Path, words: tuple[str, ...]
) -> None:
    instance = make_instance()
    record(instance, name="alice")
    (tmp_path / "to").mkdir()
    given = [str(tmp_path / "to") if word == "DIR" else word for word in words]
    refused = run(instance.env, *given, "--domain", "nosuch.example")
    assert refused.returncode == 2 and not refused.stdout
    assert "No record with a file is selected by" in refused.stderr and "nosuch.example" in refused.stderr
    assert not list(instance.state.glob("scans/*/work")), "whoever looks again looks anew"
    origin = network.add("nosuch.example")
    record(instance, origin=origin, name="newcomer")
    again = run(instance.env, *given, "--domain", "nosuch.example")
    assert again.returncode in (0, 1) and "Going on" not in again.stderr, again.stderr


def test_a_server_of_which_all_has_gone_is_no_mistake(make_instance: MakeInstance, network: Fediverse) -> None:
    """A timer prunes it again and again."""
    instance = make_instance()
    record(instance, origin=network.add("a.example"), name="u")
    done = run(instance.env, "prune", "--domain", "a.example", "--attachments", "1d")
    assert done.returncode == 0 and "Nothing of it would go" in done.stdout


def test_in_a_bucket_a_small_selection_is_looked_up(make_instance: MakeInstance, network: Fediverse) -> None:
    """Not listed: the other thousands of objects are none of its business."""
    instance = make_instance("4.5", "s3")
    origin = network.add("good.example")
    for number in range(3):
        record(instance, origin=origin, name=f"u{number}", damage="missing" if number == 0 else None)
    for number in range(1_500):
        instance.media.write(f"cache/accounts/avatars/999/{number:03}/original/x.png", b"x")
    few = check(opened(instance), CheckOptions(selection=Selection(domains=("good.example",))))
    whole = check(opened(instance))
    assert few.broken == whole.broken == 1
    assert (few.requests.list, whole.requests.list > 15) == (1, True), "one to see that the bucket is there"
    assert 3 <= few.requests.head <= 12


def test_what_may_not_be_looked_at_is_not_missing(
    make_instance: MakeInstance, network: Fediverse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that refuses look-ups: a pruning of one server must not take all of it for lost."""
    instance = make_instance("4.5", "s3")
    origin = network.add("good.example")
    for number in range(3):
        record(instance, origin=origin, name=f"u{number}")
    look = Look("prune", selection=Selection(domains=("good.example",)), described=True, weighed=True)

    def weighed() -> tuple[set[int], int]:
        with scanning(opened(instance), look, Silent()) as made:
            connection = made.inventory.work.connection
            sizes = connection.execute("SELECT size FROM weighed").fetchall()
            ((missing,),) = connection.execute("SELECT count(*) FROM findings").fetchall()
        return {size for (size,) in sizes}, missing

    sizes, missing = weighed()
    assert min(sizes) > 0 and missing == 0
    monkeypatch.setattr(S3ObjectStore, "sizes", lambda self, keys: [UNREADABLE] * len(keys))
    assert weighed() == ({UNREADABLE}, 0)
