"""Why something became what it became: the stable words of reports and `--json`, all of them in one place.

A word is for programs; the sentence for people stands beside it as `detail`. Whoever looks for what can happen to a
record reads this list.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a subject has its verdict."""

    @property
    def words(self) -> str:
        """The same for people."""
        return _WORDS[self]

    @property
    def advice(self) -> str:
        """What an admin can do about it; empty where nothing needs to be done, or nothing can be."""
        return _ADVICE.get(self, "")

    # done
    RESTORED = "restored"
    RESTORED_OTHER_BYTES = "restored_other_bytes"
    OTHER_PICTURE = "other_picture"
    TYPE_CHANGED = "type_changed"
    UNSAFE_NAME = "unsafe_name"
    BY_MASTODON = "by_mastodon"
    UNDONE = "undone"
    EXPIRED = "expired"
    ORPHAN = "orphan"
    STALE_DUPLICATE = "stale_duplicate"
    DIRECTORY_MARKER = "directory_marker"
    TEMPORARY = "temporary"
    AGED = "aged"
    OVER_BUDGET = "over_budget"
    UNTOUCHED = "untouched"
    COPIED = "copied"
    MOVED = "moved"
    SERVED = "served"
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
    UNSERVABLE = "unservable"
    UNWRITABLE = "unwritable"
    IN_THE_WAY = "in_the_way"
    CONFLICT = "conflict"
    OWN_FILE = "own_file"
    PURGED = "purged"
    MISSED = "missed"
    KEPT = "kept"
    USED = "used"
    IRREVERSIBLE = "irreversible"


_WORDS = {
    Reason.RESTORED: "the same file is back",
    Reason.RESTORED_OTHER_BYTES: "the picture is back, made anew from its origin",
    Reason.OTHER_PICTURE: "its origin shows another picture by now; that one was taken",
    Reason.TYPE_CHANGED: "its origin has it in another format; it was stored under a new name",
    Reason.UNSAFE_NAME: "its stored name was unsafe; it has a new one",
    Reason.BY_MASTODON: "Mastodon's workers have fetched it",
    Reason.UNDONE: "taken back",
    Reason.EXPIRED: "old enough to be removed",
    Reason.ORPHAN: "no record expects it",
    Reason.STALE_DUPLICATE: "its record has another file by now",
    Reason.DIRECTORY_MARKER: "an empty object that stands for a folder",
    Reason.TEMPORARY: "a file Mastomend was writing when it was stopped",
    Reason.AGED: "nothing has used it for as long as the policy says",
    Reason.OVER_BUDGET: "worth least of what did not fit",
    Reason.UNTOUCHED: "nobody here has touched that post",
    Reason.COPIED: "copied to the other storage",
    Reason.MOVED: "the storage Mastodon uses now has it, too",
    Reason.SERVED: "it is handed out as Mastodon does",
    Reason.IN_FLIGHT: "somebody was changing it at that moment",
    Reason.ROW_CHANGED: "it changed while it was worked on",
    Reason.VERIFY_FAILED: "it was still broken afterwards",
    Reason.HANDED_OVER: "Mastodon's workers were asked to fetch it",
    Reason.RESET: "Mastodon fetches it on its next occasion",
    Reason.QUEUE_FULL: "Mastodon's queue was full",
    Reason.NEEDS_FFMPEG: "ffmpeg is needed and was not found",
    Reason.NEEDS_DECODER: "no program here can read that format",
    Reason.INTERNAL_ERROR: "a defect of Mastomend; please report it",
    Reason.NOT_FOUND: "its origin says that it is not there (404)",
    Reason.GONE: "its origin says that it is gone (410)",
    Reason.FORBIDDEN: "its origin does not let us have it",
    Reason.RATE_LIMITED: "its origin asks for a pause",
    Reason.SERVER_ERROR: "its origin has trouble of its own",
    Reason.HTTP_STATUS: "its origin gave an answer nobody expects",
    Reason.DNS: "its origin's name leads nowhere",
    Reason.CONNECT: "its origin cannot be reached",
    Reason.TLS: "its origin's certificate is not right",
    Reason.TIMEOUT: "its origin did not answer in time",
    Reason.BROKEN_OFF: "its origin broke off in the middle",
    Reason.TOO_BIG: "it is larger than Mastodon allows",
    Reason.PRIVATE_ADDRESS: "its address leads into a private network",
    Reason.TOO_MANY_REDIRECTS: "its address leads in circles",
    Reason.BAD_URL: "its address cannot be asked for",
    Reason.BAD_ENCODING: "its origin sent it in a way nobody asked for",
    Reason.ACTOR_GONE: "its origin says that the account or emoji is gone",
    Reason.NOTE_GONE: "its origin says that the post is gone",
    Reason.NO_PICTURE: "its origin shows no picture there any more",
    Reason.SAME_ADDRESS: "its origin still names the address that does not work",
    Reason.NO_URL: "no address it came from is known",
    Reason.GAVE_UP: "it was tried many times in vain",
    Reason.NOT_AN_IMAGE: "what came is no picture",
    Reason.NOT_MEDIA: "what came is neither picture nor film nor sound",
    Reason.BAD_TYPE: "what came is of a type Mastodon does not take",
    Reason.BROKEN_IMAGE: "what came is broken",
    Reason.NOT_CONVERTIBLE: "what came cannot be converted",
    Reason.TOO_FAST: "the film has too many frames a second",
    Reason.TOO_MANY_FRAMES: "the film is too long",
    Reason.TOO_MANY_PIXELS: "it has more pixels than Mastodon allows",
    Reason.LOCAL: "a file of one of your own users: only a backup may have it",
    Reason.SUSPENDED: "the account is suspended",
    Reason.REJECT_MEDIA: "media of that server are rejected here",
    Reason.DOMAIN_SUSPENDED: "that server is suspended here",
    Reason.NOT_ALLOWED: "that server is not on the allow-list",
    Reason.OWN_DOMAIN: "the row claims to be remote but names this server",
    Reason.NOTHING_FETCHES: "nothing in Mastodon would ever fetch it again",
    Reason.UNSERVABLE: "the storage has it as it should be, and the public does not get it",
    Reason.UNREADABLE: "this user may not look at it",
    Reason.UNWRITABLE: "this user may not write where it belongs",
    Reason.IN_THE_WAY: "something is in its place",
    Reason.CONFLICT: "it was changed since",
    Reason.OWN_FILE: "a file of one of your own users: none is ever taken away",
    Reason.PURGED: "what was kept of it was removed for good by cleanup",
    Reason.MISSED: "a record misses the file it may be needed for",
    Reason.KEPT: "somebody here has touched it meanwhile",
    Reason.USED: "it was used meanwhile",
    Reason.IRREVERSIBLE: "nothing takes that back",
}

_ADVICE = {
    Reason.UNSERVABLE: "look at the web server, the CDN or the bucket's policy: a bucket and a CDN",
    Reason.IN_FLIGHT: "run it again later",
    Reason.ROW_CHANGED: "run it again later",
    Reason.VERIFY_FAILED: "run it again; if it stays, look at the disk or the bucket",
    Reason.HANDED_OVER: "wait for the queue pull; see Sidekiq's page",
    Reason.QUEUE_FULL: "wait until the queue pull is shorter, or raise --max-queue",
    Reason.NEEDS_FFMPEG: "install ffmpeg where this runs",
    Reason.NEEDS_DECODER: "install libvips' or ffmpeg's decoder for that format",
    Reason.INTERNAL_ERROR: "report it, with the sentence that show tells",
    Reason.FORBIDDEN: "look whether that server blocks yours, or wants signed requests (the instance actor needs a key)",
    Reason.RATE_LIMITED: "run repair --deferred --apply later, or the timer does",
    Reason.SERVER_ERROR: "later; the timer does",
    Reason.HTTP_STATUS: "open the address in a browser",
    Reason.DNS: "later; a server that is gone for good becomes lost in the end",
    Reason.CONNECT: "later; see your own firewall, too",
    Reason.TLS: "later; its certificate has run out",
    Reason.TIMEOUT: "later",
    Reason.BROKEN_OFF: "later",
    Reason.TOO_BIG: "nothing, or raise Mastodon's MAX_IMAGE_SIZE or MAX_VIDEO_SIZE",
    Reason.PRIVATE_ADDRESS: "nothing, or ALLOWED_PRIVATE_ADDRESSES if that server is in your own network",
    Reason.BAD_ENCODING: "later; that server is set up wrongly",
    Reason.NO_URL: "a backup (--from)",
    Reason.GAVE_UP: "nothing, or repair --again",
    Reason.LOCAL: "look for a backup; else ask the user to upload it again",
    Reason.REJECT_MEDIA: "nothing, or lift the block",
    Reason.DOMAIN_SUSPENDED: "nothing, or lift the block",
    Reason.NOT_ALLOWED: "allow that server, if you want it",
    Reason.OWN_DOMAIN: "look at the row: an old domain of yours?",
    Reason.NOTHING_FETCHES: "use the engine direct",
    Reason.UNREADABLE: "run it as the user that runs Mastodon, or let that user read it; root reads everything",
    Reason.UNWRITABLE: "run it as the user that runs Mastodon (sudo -u mastodon …)",
    Reason.IN_THE_WAY: "look at what is there: a directory, a link",
    Reason.CONFLICT: "look at the record: somebody changed it since",
    Reason.PURGED: "repair, if it is broken",
    Reason.MISSED: "repair, then cleanup again",
}
