"""Options that several commands share, each with one wording, and what a selection of records means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mastomend.cli import completion
from mastomend.errors import ConfigurationError

if TYPE_CHECKING:
    from mastomend.commands.instance import Instance
    from mastomend.inventory.whole import PublicLook
    from mastomend.mastodon.selection import Selection

Kinds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KIND",
        help="Kinds to look at: accounts/avatars, avatars, or accounts for all of a class. Default: all.",
        autocompletion=completion.kinds,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout (docs/json.md).")]
Apply = Annotated[bool, typer.Option("--apply", help="Do it. Without this nothing is changed.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would be done: that is the default anyway.")]
MaxMissing = Annotated[
    str | None,
    typer.Option(
        metavar="PERCENT",
        help="How much of a kind may be missing before it looks like an unmounted disk. Default: 25%.",
    ),
]
Domains = Annotated[
    list[str] | None,
    typer.Option("--domain", metavar="DOMAIN", help="Only records of that server and its subdomains. May be repeated."),
]
Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", metavar="@USER@HOST", help="Only what belongs to that account. May be repeated."),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="URL|ID", help="Only what belongs to that post. May be repeated."),
]
Local = Annotated[bool, typer.Option("--local", help="Only records of this server's own users.")]
Remote = Annotated[bool, typer.Option("--remote", help="Only cached records of other servers.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="KIND|DOMAIN",
        help="All but that kind, or that server. May be repeated.",
        autocompletion=completion.kinds,
    ),
]
PublicShare = Annotated[
    str | None,
    typer.Option(
        "--public",
        metavar="[=PERCENT]",
        help="Also ask for files as the public does: a few hundred, or that percentage.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Take up at most so many records.")]


def missing_limit(given: str | None) -> float | None:
    """`--max-missing` as a percentage.

    Raises:
        ConfigurationError: it is none.
    """
    from mastomend.commands.settings import parse_percent

    return None if given is None else parse_percent(given, "--max-missing")


#: So many files, where no percentage is given.
_SOME = 300


def public_look(given: str | None) -> PublicLook | None:
    """What `--public` means; None: it was not given.

    Raises:
        ConfigurationError: it is no percentage.
    """
    from mastomend.cli.words import ALONE
    from mastomend.commands.settings import parse_percent
    from mastomend.inventory.whole import PublicLook

    if given is None:
        return None
    if given == ALONE["--public"]:
        return PublicLook(most=_SOME)
    return PublicLook(parse_percent(given, "--public") / 100)


def public_words(given: str | None) -> list[str]:
    """The same on a command line."""
    from mastomend.cli.words import ALONE

    if given is None:
        return []
    return ["--public" if given == ALONE["--public"] else f"--public={given}"]


def is_applied(apply: bool, dry_run: bool) -> bool:
    """Whether anything is to be changed.

    Raises:
        ConfigurationError: both were asked for.
    """
    if apply and dry_run:
        raise ConfigurationError("--apply and --dry-run contradict each other.", hint="Leave one of them out.")
    return apply


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection as it was given; `words` are those options again, for the next command."""

    kinds: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    local: bool = False
    remote: bool = False
    exclude: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        kinds: list[str] | None,
        domains: list[str] | None,
        accounts: list[str] | None,
        statuses: list[str] | None,
        exclude: list[str] | None,
        *,
        local: bool,
        remote: bool,
    ) -> Chosen:
        """From a command's options, which are None where they were not given."""
        return cls(
            tuple(kinds or ()),
            tuple(domains or ()),
            tuple(accounts or ()),
            tuple(statuses or ()),
            local,
            remote,
            tuple(exclude or ()),
        )

    @property
    def but_kinds(self) -> tuple[str, ...]:
        """What of `--exclude` names kinds: what has no dot. The rest names servers."""
        return tuple(one for one in self.exclude if "." not in one)

    def selection(self, instance: Instance) -> Selection:
        """What it means in that instance.

        Raises:
            ConfigurationError: a server, an account or a post that cannot be one; or all is left out.
        """
        from mastomend.mastodon.selection import Selection, parse_account, parse_domain, parse_status

        if self.local and self.remote:
            raise ConfigurationError("--local and --remote leave nothing.", hint="Leave one of them out.")
        own = (instance.configuration.local_domain, instance.configuration.web_domain)
        return Selection(
            tuple(_elsewhere(parse_domain(one), own, "--local") for one in self.domains),
            tuple(parse_account(one, own) for one in self.accounts),
            tuple(parse_status(one, own) for one in self.statuses),
            True if self.local else False if self.remote else None,
            tuple(_elsewhere(parse_domain(one), own, "--remote") for one in self.exclude if one not in self.but_kinds),
        )

    @property
    def words(self) -> list[str]:
        """The same on a command line."""
        words = list(self.kinds)
        named = {
            "--domain": self.domains,
            "--account": self.accounts,
            "--status": self.statuses,
            "--exclude": self.exclude,
        }
        for option, values in named.items():
            for value in values:
                words += [option, value]
        return words + ["--local"] * self.local + ["--remote"] * self.remote


def _elsewhere(domain: str, own: Sequence[str], option: str) -> str:
    """This server's own records name no server.

    Raises:
        ConfigurationError: it is this server.
    """
    if domain in {one.lower() for one in own}:
        raise ConfigurationError(f"{domain} is this server itself.", hint=f"Use {option}.")
    return domain
