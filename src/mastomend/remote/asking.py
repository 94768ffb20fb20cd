"""A question to a stranger and its answer, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mastomend.reasons import Reason


class Failure(StrEnum):
    """Why there is no body, in the words of `Reason`."""

    NOT_FOUND = Reason.NOT_FOUND.value
    GONE = Reason.GONE.value
    FORBIDDEN = Reason.FORBIDDEN.value
    RATE_LIMITED = Reason.RATE_LIMITED.value
    SERVER_ERROR = Reason.SERVER_ERROR.value
    HTTP_STATUS = Reason.HTTP_STATUS.value
    DNS = Reason.DNS.value
    CONNECT = Reason.CONNECT.value
    TLS = Reason.TLS.value
    TIMEOUT = Reason.TIMEOUT.value
    BROKEN_OFF = Reason.BROKEN_OFF.value
    TOO_BIG = Reason.TOO_BIG.value
    PRIVATE_ADDRESS = Reason.PRIVATE_ADDRESS.value
    TOO_MANY_REDIRECTS = Reason.TOO_MANY_REDIRECTS.value
    BAD_URL = Reason.BAD_URL.value
    BAD_ENCODING = Reason.BAD_ENCODING.value

    @property
    def reason(self) -> Reason:
        """The same word, as the reason of a verdict."""
        return Reason(self.value)

    @property
    def host_in_trouble(self) -> bool:
        """Whether this says something about the host rather than about one file."""
        return self in _HOST_TROUBLE


_HOST_TROUBLE = frozenset(
    {
        Failure.RATE_LIMITED,
        Failure.SERVER_ERROR,
        Failure.DNS,
        Failure.CONNECT,
        Failure.TLS,
        Failure.TIMEOUT,
        Failure.BROKEN_OFF,
    }
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a stranger. `max_bytes` after decompression; with `truncate` a longer body is cut, not refused.

    `signed` signs as the instance actor, if the client can; `crawler` says so in the User-Agent, as Mastodon does.
    """

    url: str
    max_bytes: int
    accept: str | None = None
    signed: bool = False
    truncate: bool = False
    crawler: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete body, the last hop's URL, and what it called its content type."""

    data: bytes
    url: str
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class NotFetched:
    """No body. `retry_after_s` is what the host asked for, if it did."""

    failure: Failure
    detail: str
    retry_after_s: float | None = None
