"""Why something became what it became: the stable words of reports and `--json`, all of them in one place.

A word is for programs; the sentence for people stands beside it as `detail`. Whoever looks for what can happen to a
record reads this list.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a subject has its verdict."""

    # done
    RESTORED = "restored"
    RESTORED_OTHER_BYTES = "restored_other_bytes"
    OTHER_PICTURE = "other_picture"
    TYPE_CHANGED = "type_changed"
    UNSAFE_NAME = "unsafe_name"
    BY_MASTODON = "by_mastodon"
    UNDONE = "undone"
    EXPIRED = "expired"
    # left for now: it may pass by itself
    IN_FLIGHT = "in_flight"
    ROW_CHANGED = "row_changed"
    VERIFY_FAILED = "verify_failed"
    HANDED_OVER = "handed_over"
    RESET = "reset"
    QUEUE_FULL = "queue_full"
    NEEDS_FFMPEG = "needs_ffmpeg"
    NEEDS_DECODER = "needs_decoder"
    INTERNAL_ERROR = "internal_error"
    # the origin, or the way to it
    NOT_FOUND = "not_found"
    GONE = "gone"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    HTTP_STATUS = "http_status"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    BROKEN_OFF = "broken_off"
    TOO_BIG = "too_big"
    PRIVATE_ADDRESS = "private_address"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    BAD_URL = "bad_url"
    BAD_ENCODING = "bad_encoding"
    ACTOR_GONE = "actor_gone"
    NOTE_GONE = "note_gone"
    NO_PICTURE = "no_picture"
    SAME_ADDRESS = "same_address"
    NO_URL = "no_url"
    GAVE_UP = "gave_up"
    # what came is not what is needed
    NOT_AN_IMAGE = "not_an_image"
    NOT_MEDIA = "not_media"
    BAD_TYPE = "bad_type"
    BROKEN_IMAGE = "broken_image"
    NOT_CONVERTIBLE = "not_convertible"
    TOO_FAST = "too_fast"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_MANY_PIXELS = "too_many_pixels"
    # policy and safety
    LOCAL = "local"
    SUSPENDED = "suspended"
    REJECT_MEDIA = "reject_media"
    DOMAIN_SUSPENDED = "domain_suspended"
    NOT_ALLOWED = "not_allowed"
    OWN_DOMAIN = "own_domain"
    NOTHING_FETCHES = "nothing_fetches"
    UNREADABLE = "unreadable"
    IN_THE_WAY = "in_the_way"
    CONFLICT = "conflict"
    IRREVERSIBLE = "irreversible"
