"""Which records a command looks at, as conditions in PostgreSQL: what is not selected never leaves it. Pure.

A selection names domains (with their subdomains), accounts, posts, local or remote records; all that it names must be met. What
belongs to no domain, no account, no post (a site upload, a provider's icon) is not selected by one. A preview card is of
the server whose page it shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from mastomend.errors import ConfigurationError
from mastomend.mastodon.kinds import PREVIEW_CARDS, Kind, Owner
from mastomend.mastodon.moderation import normalize_domain
from mastomend.mastodon.urls import origin_host


@dataclass(frozen=True, slots=True)
class Account:
    """`@user@host`; `domain` None for one of this server's. `address` is that of its page, whose host may be another; `id` is a
    number that may be its name as well.
    """

    username: str
    domain: str | None
    address: str | None = field(default=None, compare=False)
    id: int | None = None

    def __str__(self) -> str:
        if self.id is not None:
            return f"account {self.id}"
        return f"@{self.username}@{self.domain}" if self.domain else f"@{self.username}"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is looked at; empty means everything. `statuses` are ids, URIs or URLs; `local` None means both.

    `without_domains` leaves out domains with their subdomains, and nothing that has none.
    """

    domains: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    statuses: tuple[str, ...] = ()
    local: bool | None = None
    without_domains: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = [*map(str, self.accounts), *self.domains]
        said += [*self.statuses, *(f"not {domain}" for domain in self.without_domains)]
        said += [] if self.local is None else ["local" if self.local else "remote"]
        return ", ".join(said) or "everything"

    @property
    def has_addresses(self) -> bool:
        """Whether an account is named by its page."""
        return any(one.address is not None for one in self.accounts)

    @property
    def criteria(self) -> int:
        """How many things must be true of a record."""
        return sum(map(bool, (self.domains, self.accounts, self.statuses, self.without_domains))) + (
            self.local is not None
        )

    def scope(self) -> Mapping[str, object]:
        """What tells one selection from another, as plain values."""
        return asdict(self)

    def needs(self, kind: Kind) -> dict[str, set[str]]:
        """The columns, by table, that choosing among that kind's records takes."""
        needs: dict[str, set[str]] = {}
        if (self.domains or self.without_domains) and kind is PREVIEW_CARDS:
            needs["preview_cards"] = {"url"}
        if self.accounts and kind.owner in (Owner.ACCOUNT, Owner.ACCOUNT_ID):
            needs["accounts"] = {"id", "username", "domain"} | ({"uri", "url"} if self.has_addresses else set())
        if self.statuses and kind.owner is Owner.ACCOUNT_ID:
            needs |= {"statuses": {"id", "uri", "url"}, kind.table: {"status_id"}}
        if self.statuses and kind is PREVIEW_CARDS:
            needs |= {"statuses": {"id", "uri", "url"}, "preview_cards_statuses": {"preview_card_id", "status_id"}}
        return needs


class OwnPost(str):
    """The id of a post whose address on this server was given, with whose the address says it is."""

    __slots__ = ("author",)
    author: Account

    def __new__(cls, post: str, author: Account) -> OwnPost:
        made = super().__new__(cls, post)
        made.author = author
        return made

    def __deepcopy__(self, memo: object) -> OwnPost:
        return self


EVERYTHING = Selection()


def may_match(kind: Kind, selection: Selection) -> bool:
    """Whether any record of that kind can be selected: an emoji belongs to no account, so it need not be looked at."""
    has_account = kind.owner in (Owner.ACCOUNT, Owner.ACCOUNT_ID)
    if selection.accounts and not has_account:
        return False
    if selection.domains and not (has_account or kind.owner is Owner.DOMAIN or kind is PREVIEW_CARDS):
        return False
    return not selection.statuses or kind.owner is Owner.ACCOUNT_ID or kind is PREVIEW_CARDS


def unknown_sql(selection: Selection, literal: Callable[[str], str]) -> str | None:
    """Those of the selected accounts and posts that are not there, by their `name`; None: none is selected."""
    looked_for = [
        f"SELECT {literal(str(Selection(accounts=(one,))))} AS name "
        f"WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE {_is_one_of('a', (one,), literal)})"
        for one in selection.accounts
    ]
    looked_for += [
        f"SELECT {literal(_called(one))} AS name "
        f"WHERE NOT EXISTS (SELECT 1 FROM statuses s WHERE {_is_status((one,), literal)}{_of_author(one, literal)})"
        for one in selection.statuses
    ]
    return " UNION ALL ".join(looked_for) or None


def _called(post: str) -> str:
    return f"{post} of {post.author}" if isinstance(post, OwnPost) else post


def _of_author(post: str, literal: Callable[[str], str]) -> str:
    if not isinstance(post, OwnPost):
        return ""
    whose = _is_one_of("a", (post.author,), literal)
    return f" AND EXISTS (SELECT 1 FROM accounts a WHERE a.id = s.account_id AND {whose})"


_PROFILE = re.compile(
    r"(?P<address>https?://(?P<host>[^/?#@]+)/(?:deck/|web/)?(?:@|users/)(?P<user>[^/?#@]+)(?:@(?P<of>[^/?#@]+))?)"
    r"(?:/(?:media|with_replies|featured|followers|following|about|tagged/[^/?#]+))?/?(?:[?#].*)?"
)
_POST = re.compile(r"https?://[^/?#@]+/(?:@|users/)[^/?#]+/(?:statuses/|posts/)?\d+/?(?:[?#].*)?")
#: A post of one's own server, or another's as it is shown here.
_SHOWN_POST = re.compile(
    r"https?://[^/?#@]+/(?:(?:.+?/)?(?:@|users/)(?P<user>[^/@]+)(?:@(?P<of>[^/@]+))?/(?:statuses/)?|.+?/)?(?P<id>\d+)(?:/(?:favourites|reblogs|quotes|embed|activity|media/\d+))?/?(?:[?#].*)?"
)
#: A number of more digits is no id.
_DIGITS = 19
_WITHOUT_SCHEME = re.compile(r"[^/?#@\s]+\.[^/?#@\s]+/(?:@|users/)\S+")


def parse_account(text: str, own_domains: Iterable[str]) -> Account:
    """`@user@host`, `user@host`, `@user`, an account's number, or the address of a profile, there or as this server shows it.

    Raises:
        ConfigurationError: it is none of them.
    """
    address, given = None, text.strip().removeprefix("acct:")
    if "," in given:
        raise ConfigurationError(f"{text!r} is no account.", hint="Name each by an --account of its own.")
    given = f"https://{given}" if _WITHOUT_SCHEME.fullmatch(given) else given
    if _POST.fullmatch(given):
        raise ConfigurationError(
            f"{text!r} is a post's address, no account.", hint=f"Select that post: --status {given}"
        )
    if profile := _PROFILE.fullmatch(given):
        username, domain = profile["user"], profile["of"] or profile["host"]
        address = None if profile["of"] else profile["address"]
    else:
        username, _, domain = given.removeprefix("@").partition("@")
    if not username or "@" in domain or any(c.isspace() or c == "/" for c in username + domain):
        raise ConfigurationError(
            f"{text!r} is no account.",
            hint="Write it as @user@host, @user for one of this server's, or give its number or its profile's address.",
        )
    domain = normalize_domain(domain)
    is_own = not domain or domain in {own.lower() for own in own_domains}
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < _DIGITS else None
    return Account(username.lower(), None if is_own else domain, None if is_own else address, number)


_ADDRESS_OF_SERVER = re.compile(r"^https?://|/$")


def parse_domain(text: str) -> str:
    """A server's name as Mastodon stores it.

    Raises:
        ConfigurationError: it is none.
    """
    given = _ADDRESS_OF_SERVER.sub("", text.strip())
    domain = normalize_domain(given.removeprefix("@").removeprefix("*."))
    if not domain or any(c.isspace() or c in "/@:,%" for c in domain):
        raise ConfigurationError(f"{text!r} is no server's name.", hint="Write it as in example.social.")
    return domain


def parse_status(text: str, own_domains: Iterable[str]) -> str:
    """A post's id, its URI or its address. Of this server's own posts no address is stored: their id is in it.

    Raises:
        ConfigurationError: it is none of them.
    """
    status = text.strip()
    if status.isascii() and status.isdigit():
        return status
    status = f"https://{status}" if _WITHOUT_SCHEME.fullmatch(status) else status
    shown = _SHOWN_POST.fullmatch(status)
    own = {one.lower() for one in own_domains}
    if shown and shown["id"].isascii() and origin_host(status) in own:
        if shown["user"] is None:
            return shown["id"]
        return OwnPost(shown["id"], parse_account("@".join(filter(None, (shown["user"], shown["of"]))), own))
    if _PROFILE.fullmatch(status):
        raise ConfigurationError(f"{text!r} is an account's address, no post.", hint=f"Select it: --account {status}")
    if not status.startswith(("https://", "http://")):
        raise ConfigurationError(f"{text!r} is no post.", hint="Give its address (https://…) or its id.")
    return status


def conditions(kind: Kind, selection: Selection, literal: Callable[[str], str], is_local: str) -> list[str]:
    """Conditions on a row `t` of the kind's table, all of which must be met. `literal` makes a text one of PostgreSQL's."""
    found = []
    if selection.local is not None:
        found.append(is_local if selection.local else f"NOT ({is_local})")
    if selection.domains:
        found.append(_of_domains(kind, selection.domains, literal))
    if selection.without_domains:
        found.append(f"NOT coalesce({_of_domains(kind, selection.without_domains, literal)}, false)")
    if selection.accounts:
        found.append(_of_account(kind, lambda a: _is_one_of(a, selection.accounts, literal)))
    if selection.statuses:
        found.append(_of_status(kind, selection.statuses, literal))
    return found


#: The host in a card's address. Written without a backslash: a server may read them in more than one way.
HOST_OF_PAGE = "lower(substring(t.url from '^https?://(?:[^/@]*@)?([^/:?#]+)'))"


def _of_domains(kind: Kind, domains: Iterable[str], literal: Callable[[str], str]) -> str:
    if kind is PREVIEW_CARDS:
        return _in_domains(HOST_OF_PAGE, domains, literal)
    if kind.owner is Owner.DOMAIN:
        return _in_domains("t.domain", domains, literal)
    return _of_account(kind, lambda a: _in_domains(f"{a}.domain", domains, literal))


def _of_account(kind: Kind, condition: Callable[[str], str]) -> str:
    match kind.owner:
        case Owner.ACCOUNT:
            return condition("t")
        case Owner.ACCOUNT_ID:
            return f"EXISTS (SELECT 1 FROM accounts a WHERE a.id = t.account_id AND ({condition('a')}))"
        case _:
            return "false"


def _in_domains(column: str, domains: Iterable[str], literal: Callable[[str], str]) -> str:
    def one(domain: str) -> str:
        name = domain.lower().strip(".")
        return f"{column} = {literal(name)} OR right({column}, {len(name) + 1}) = {literal('.' + name)}"

    return f"({' OR '.join(map(one, domains))})"


def _is_one_of(row: str, accounts: Iterable[Account], literal: Callable[[str], str]) -> str:
    def one(account: Account) -> str:
        domain = f"{row}.domain IS NULL" if account.domain is None else f"{row}.domain = {literal(account.domain)}"
        named = f"(lower({row}.username) = {literal(account.username)} AND {domain})"
        if account.id is not None:
            return f"({named} OR {row}.id = {account.id})"
        if account.address is None:
            return named
        address = literal(account.address)  # whose names are of another host than their pages
        return f"({named} OR {row}.uri = {address} OR {row}.url = {address})"

    return f"({' OR '.join(map(one, accounts))})"


def _of_status(kind: Kind, statuses: Iterable[str], literal: Callable[[str], str]) -> str:
    which = _is_status(statuses, literal)
    if kind.owner is Owner.ACCOUNT_ID:
        return f"EXISTS (SELECT 1 FROM statuses s WHERE s.id = t.status_id AND ({which}))"
    if kind is PREVIEW_CARDS:
        return (
            "EXISTS (SELECT 1 FROM preview_cards_statuses p JOIN statuses s ON s.id = p.status_id "
            f"WHERE p.preview_card_id = t.id AND ({which}))"
        )
    return "false"


def _is_status(statuses: Iterable[str], literal: Callable[[str], str]) -> str:
    named = list(statuses)
    ids = [text for text in named if text.isdecimal()]
    addresses = ", ".join(literal(text) for text in named if not text.isdecimal())
    ways = [f"s.id IN ({', '.join(ids)})"] if ids else []
    ways += [f"s.uri IN ({addresses}) OR s.url IN ({addresses})"] if addresses else []
    return " OR ".join(ways)
