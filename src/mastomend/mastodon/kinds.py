"""The one table of Mastodon's attachments: which columns, which styles, which rules.

Everything that depends on the kind of an attachment is read from here, by the pure functions in `keys` as well as by
the columnar expressions in `columnar`, so the two cannot know different facts. Sources: facts/mastodon-media.md §1
(tables), §2.3 (styles), §1 "row is remote when".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from mastomend.errors import ConfigurationError

IMAGE_SAME_EXTENSION = frozenset({"image/jpeg", "image/png", "image/webp"})
HEIF_TYPES = frozenset({"image/heic", "image/heif", "image/avif"})
VIDEO_TYPES = frozenset({"video/mp4", "video/ogg", "video/webm", "video/quicktime"})

# Ruby's [[:space:]], which decides what `blank?` means for a remote URL (facts §1: "blank incl. whitespace").
BLANK_CHARACTERS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004"
    "\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


class RemoteRule(Enum):
    """What makes a row's attachment *remote* (facts §1)."""

    DOMAIN = "domain IS NOT NULL"
    REMOTE_URL = "remote_url is not blank"
    ALWAYS = "always"
    NEVER = "never"


class Owner(Enum):
    """Where the origin's domain and a possible suspension are found."""

    ACCOUNT = "the row is the account"
    ACCOUNT_ID = "through account_id"
    DOMAIN = "the row has a domain of its own"
    NONE = "nowhere"


@dataclass(frozen=True, slots=True)
class Derived:
    """One derived style. It exists for a record when both conditions hold; `None` means "no condition".

    `extension` is the style's fixed format; `None` keeps the original's extension.
    """

    style: str
    extension: str | None
    content_types: frozenset[str] | None = None
    var: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One attachment definition. `name` is its storage prefix (`CLASS/ATTACHMENTS`)."""

    name: str
    table: str
    attachment: str
    remote: RemoteRule
    owner: Owner = Owner.NONE
    remote_url: str | None = None
    has_version_column: bool = True
    derived: tuple[Derived, ...] = ()
    is_image: bool = True

    def column(self, suffix: str) -> str:
        """The attachment's column of that suffix, e.g. `avatar_file_name`."""
        return f"{self.attachment}_{suffix}"

    @property
    def version_column(self) -> str:
        """The column that decides on `cache/`; a schema may lack it (thumbnails before 4.6, facts §0.1)."""
        return self.column("storage_schema_version")

    @property
    def has_var(self) -> bool:
        """Whether the styles depend on the row's `var` (site uploads)."""
        return any(d.var is not None for d in self.derived)


_STATIC_OF_GIF = (Derived("static", "png", frozenset({"image/gif"})),)
_STATIC = (Derived("static", "png"),)
_APP_ICON_SIZES = (36, 48, 57, 60, 72, 76, 96, 114, 120, 144, 152, 167, 180, 192, 256, 384, 512, 1024)

AVATARS = Kind(
    "accounts/avatars",
    "accounts",
    "avatar",
    RemoteRule.DOMAIN,
    Owner.ACCOUNT,
    "avatar_remote_url",
    derived=_STATIC_OF_GIF,
)
HEADERS = Kind(
    "accounts/headers",
    "accounts",
    "header",
    RemoteRule.DOMAIN,
    Owner.ACCOUNT,
    "header_remote_url",
    derived=_STATIC_OF_GIF,
)
MEDIA_FILES = Kind(
    "media_attachments/files",
    "media_attachments",
    "file",
    RemoteRule.REMOTE_URL,
    Owner.ACCOUNT_ID,
    "remote_url",
    derived=(
        Derived("small", None, IMAGE_SAME_EXTENSION),
        Derived("small", "png", VIDEO_TYPES | {"image/gif"}),
        Derived("small", "jpeg", HEIF_TYPES),
    ),
)
MEDIA_THUMBNAILS = Kind(
    "media_attachments/thumbnails",
    "media_attachments",
    "thumbnail",
    RemoteRule.REMOTE_URL,
    Owner.ACCOUNT_ID,
    "thumbnail_remote_url",
)
EMOJIS = Kind(
    "custom_emojis/images",
    "custom_emojis",
    "image",
    RemoteRule.DOMAIN,
    Owner.DOMAIN,
    "image_remote_url",
    derived=_STATIC,
)
PREVIEW_CARDS = Kind("preview_cards/images", "preview_cards", "image", RemoteRule.ALWAYS)
PROVIDER_ICONS = Kind(
    "preview_card_providers/icons",
    "preview_card_providers",
    "icon",
    RemoteRule.NEVER,
    has_version_column=False,
    derived=_STATIC,
)
SITE_UPLOADS = Kind(
    "site_uploads/files",
    "site_uploads",
    "file",
    RemoteRule.NEVER,
    has_version_column=False,
    derived=(
        Derived("@1x", "png", var="thumbnail"),
        Derived("@2x", "png", var="thumbnail"),
        *(Derived(str(n), "png", var="favicon") for n in (16, 32, 48)),
        *(Derived(str(n), "png", var="app_icon") for n in _APP_ICON_SIZES),
    ),
)
BACKUPS = Kind("backups/dumps", "backups", "dump", RemoteRule.NEVER, has_version_column=False, is_image=False)
IMPORTS = Kind("imports/data", "imports", "data", RemoteRule.NEVER, has_version_column=False, is_image=False)

KINDS: tuple[Kind, ...] = (
    AVATARS,
    HEADERS,
    MEDIA_FILES,
    MEDIA_THUMBNAILS,
    EMOJIS,
    PREVIEW_CARDS,
    PROVIDER_ICONS,
    SITE_UPLOADS,
    BACKUPS,
    IMPORTS,
)
KIND_BY_NAME = {kind.name: kind for kind in KINDS}


def names_of(kind: Kind, among: Iterable[Kind]) -> list[str]:
    """What that kind may be called: its name, its class (for all of it), what is behind the slash, if that is clear, and what
    people say.
    """
    group, _, short = kind.name.partition("/")
    is_clear = sum(other.name.partition("/")[2] == short for other in among) == 1
    return [kind.name, group, *([short] if is_clear else []), *_ALSO_CALLED.get(kind.name, ())]


_ALSO_CALLED = {
    MEDIA_FILES.name: ("attachments",),
    EMOJIS.name: ("emojis", "emoji"),
    PREVIEW_CARDS.name: ("cards",),
}


def choose_kinds(names: Sequence[str], available: Sequence[Kind], *, but: Sequence[str] = ()) -> tuple[Kind, ...]:
    """The kinds to work on: `accounts/avatars`, `avatars`, or a class such as `accounts` for all its kinds; without those of
    `but`.

    Raises:
        ConfigurationError: a name this instance does not have, or that may be one of several.
    """
    left_out = choose_kinds(but, available) if but else ()
    if not names:
        return tuple(kind for kind in available if kind not in left_out)
    chosen: list[Kind] = []
    for name in names:
        plain = name.strip("/").lower()
        found = [k for k in available if plain in names_of(k, KINDS)]
        if not found:
            raise _no_kind(name, plain, available)
        chosen += [k for k in found if k not in chosen and k not in left_out]
    return tuple(chosen)


def _no_kind(name: str, plain: str, available: Sequence[Kind]) -> ConfigurationError:
    known = ", ".join(k.name for k in available)
    several = [k.name for k in available if k.name.partition("/")[2] == plain]
    if len(several) > 1:
        return ConfigurationError(f"{name!r} may be {' or '.join(several)}.", hint="Name it in full.")
    if any(plain in names_of(k, KINDS) for k in KINDS):
        said = f"There is no kind {name!r}. This version of Mastodon does not have it."
        return ConfigurationError(said, hint=f"Kinds here: {known}")
    offered = [one for k in available for one in names_of(k, KINDS)]
    near = get_close_matches(plain, offered, n=1, cutoff=0.6) or [one for one in offered if one.startswith(plain)]
    meant = f" Did you mean {near[0]}?" if near and plain else ""
    if "@" in name or "." in name:
        what, option = ("An account", "--account") if "@" in name else ("A server", "--domain")
        return ConfigurationError(f"There is no kind {name!r}.", hint=f"{what} is selected by {option} {name}")
    return ConfigurationError(f"There is no kind {name!r}.{meant}", hint=f"Kinds here: {known}")


def by_table(kinds: Iterable[Kind]) -> list[tuple[Kind, ...]]:
    """The kinds that live in one table together, in the order of the first of each."""
    found: dict[str, list[Kind]] = {}
    for kind in kinds:
        found.setdefault(kind.table, []).append(kind)
    return [tuple(group) for group in found.values()]


def is_blank(text: str | None) -> bool:
    """Ruby's `blank?` for a string column: NULL, empty, or only white space."""
    return text is None or not text.strip(BLANK_CHARACTERS)
