"""What an object store's refusals mean, and what to do about each: every answer its own advice. Pure.

An answer concerns one object (`ObjectError`: that record's trouble) or the storage as a whole. Long bodies and request
details are left out: they say nothing to people, and may repeat what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mastomend.errors import ConfigurationError, HiddenError, MastomendError, ObjectError, StorageError, UnreadableError

_CREDENTIALS = frozenset(
    {"SignatureDoesNotMatch", "InvalidAccessKeyId", "AuthenticationFailed", "InvalidSecurity", "InvalidSecurityToken",
     "InvalidAuthenticationInfo",
     "NotSignedUp", "Unauthorized", "CredentialsNotSupported"}
)  # fmt: skip
_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestExpired"}
)
_REGION = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "TemporaryRedirect",
     "Redirect"}
)  # fmt: skip
_FULL = frozenset(
    {"QuotaExceeded", "QuotaExceededException", "InsufficientStorage", "XMinioStorageFull", "InsufficientCapacity",
     "StorageLimitExceeded", "ServiceQuotaExceeded", "UserQuotaExceeded", "BucketQuotaExceeded", "storage_cap_exceeded"}
)  # fmt: skip
_ARCHIVED = frozenset({"InvalidObjectState", "ObjectArchived", "BlobArchived"})
_NO_ACL = frozenset({"AccessControlListNotSupported", "InvalidBucketAclWithObjectOwnership"})
_RIGHTS = (
    "The key needs ListBucket, GetObject, PutObject, PutObjectAcl and DeleteObject on this bucket; "
    "ListBucketMultipartUploads and AbortMultipartUpload help to clean up after a crash."
)
#: These say: later. So does every other 5xx, and 429.
AGAIN = frozenset(
    {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException",
     "RequestLimitExceeded", "BandwidthLimitExceeded", "TooManyRequests", "OperationAborted", "BadDigest", "IncompleteBody",
     "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not what was asked for. `code` is the store's own word, '' where it gave none."""

    status: int
    code: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed in a while."""
        if self.code in _FULL or self.status in (501, 505, 507):
            return False
        return self.status >= 500 or self.status == 429 or self.code in AGAIN

    def element(self, name: str) -> str:
        """What an element of the body says, '' if there is none."""
        match = re.search(rf"<{name}>([^<]{{1,200}})</{name}>".encode(), self.body)
        return match[1].decode("utf-8", "replace") if match else ""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a kind of store calls its things, and which settings to look at; here S3's."""

    bucket: str = "bucket"
    of_bucket: str = "Check S3_BUCKET and S3_ENDPOINT."
    of_credentials: str = "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    of_rights: str = _RIGHTS
    of_address: str = "Check S3_ENDPOINT, S3_BUCKET and S3_REGION."


AZURE = Advice(
    "container",
    "Check AZURE_CONTAINER_NAME.",
    "Check AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_ACCESS_KEY.",
    "Check the rights of this access key, and the account's firewall.",
    "Check AZURE_STORAGE_ACCOUNT and AZURE_CONTAINER_NAME.",
)


def code_of(body: bytes) -> str:
    """The store's own word for what is wrong."""
    match = re.search(rb"<Code>([A-Za-z0-9_.]{1,64})</Code>", body)
    return match[1].decode() if match else ""


def failure(  # noqa: C901 - one case after another, most telling first
    name: str, refusal: Refusal, *, method: str, key: str = "", region: str = "", advice: Advice = Advice()
) -> MastomendError:
    """The refusal in words that say what to do."""
    code, status = refusal.code, refusal.status
    where = f"{name} at {key}" if key else name
    if code in ("NoSuchBucket", "ContainerNotFound", "InvalidBucketName"):
        return ConfigurationError(f"{name}: the {advice.bucket} does not exist.", hint=advice.of_bucket)
    if code in _REGION or status in (301, 307):
        return _elsewhere(name, refusal, region)
    if code in _EXPIRED:
        return StorageError(
            f"{name}: the credentials have expired ({code}).", hint="Get new ones, then run the same command again."
        )
    if code == "RequestTimeTooSkewed":
        theirs = refusal.element("ServerTime") or refusal.headers.get("Date", "")
        return StorageError(
            f"{name}: this machine's clock is wrong; the store has {theirs or 'another time'}.",
            hint="Set it: timedatectl set-ntp true",
        )
    if code in _CREDENTIALS or status == 401:
        return StorageError(
            f"{name} refuses the credentials ({code or status}).",
            hint=advice.of_credentials,
        )
    if code in _ARCHIVED:
        storage_class = refusal.element("StorageClass") or refusal.headers.get("x-amz-storage-class", "")
        return UnreadableError(
            f"{where}: archived ({storage_class or 'a cold storage class'}); it must be restored first."
        )
    if code == "InvalidStorageClass":
        return StorageError(f"{name} does not know the storage class.", hint="Check S3_STORAGE_CLASS.")
    if code in _FULL or status == 507:
        return StorageError(
            f"{name} is full, or its quota is used up ({code or status}).",
            hint="Raise the quota or free some space, then run the same command again: it goes on where it stopped.",
        )
    if code in _NO_ACL:
        return StorageError(f"{name} takes no ACL ({code}).", hint="Set S3_PERMISSION= (empty) in .env.production.")
    if status == 403 and method in ("GET", "HEAD") and key:
        return HiddenError(f"{where}: this access key may not read it ({code or 403}).")
    if status == 403:
        return StorageError(f"{where} refuses access ({code or 403}).", hint=advice.of_rights)
    if status == 404 and key:
        return ObjectError(f"{where} does not exist.")
    if refusal.body.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return StorageError(
            f"{where} answers with a web page (HTTP {status}): that is no object store.", hint=advice.of_address
        )
    what = f"{where} answers {status} {code}".rstrip() + "."
    if refusal.may_pass:
        return StorageError(what, hint="It is overloaded or in trouble. The same command goes on where it stopped.")
    return ObjectError(what) if key else StorageError(what, hint=advice.of_address)


def _elsewhere(name: str, refusal: Refusal, region: str) -> MastomendError:
    right = refusal.headers.get("x-amz-bucket-region") or refusal.element("Region")
    endpoint = refusal.element("Endpoint")
    if right and right != region:
        return ConfigurationError(
            f"{name}: the bucket is in the region {right}, not in {region}.",
            hint=f"Set S3_REGION={right}"
            + (f", and check S3_ENDPOINT (the store says {endpoint})." if endpoint else "."),
        )
    return ConfigurationError(
        f"{name}: the bucket is to be asked for elsewhere" + (f", at {endpoint}." if endpoint else "."),
        hint="Check S3_ENDPOINT and S3_REGION.",
    )


def unreachable(name: str, what: str, error: Exception) -> StorageError:
    """No answer at all. `what` is the sort: `dns`, `connect`, `tls`, `timeout` or `broken`."""
    match what:
        case "dns":
            return StorageError(
                f"{name}: the host's name is not known.", hint="Check S3_ENDPOINT, and this machine's DNS."
            )
        case "tls":
            return StorageError(
                f"{name}: no secure connection ({type(error).__name__}).",
                hint="Is S3_ENDPOINT the name in the server's certificate, and https right?",
            )
        case "connect":
            return StorageError(f"{name}: nobody answers there.", hint="Is the object store up? Check S3_ENDPOINT.")
        case "timeout":
            return StorageError(
                f"{name} does not answer in time.", hint="It is overloaded or cut off. The same command goes on."
            )
        case _:
            return StorageError(
                f"{name} breaks its answers off.",
                hint="Is the network well? The same command goes on where it stopped.",
            )
