"""Media in a bucket: obstore lists and reads (Arrow batches, pages fetched ahead), boto3 writes S3.

Two clients, because each can do what the other cannot: obstore lists several times faster and speaks Azure as well,
but cannot send Mastodon's `x-amz-acl` in a signed request; boto3 can, and brings the AWS credential chain Mastodon
itself falls back on (docs/adr/0003).
"""

from __future__ import annotations

import bisect
import hashlib
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from arro3.core import RecordBatch
from obstore.exceptions import BaseError, PermissionDeniedError
from obstore.store import AzureStore, S3Store

from mastomend.errors import ConfigurationError, StorageError
from mastomend.mastodon.configuration import AzureStorage, S3Storage
from mastomend.mastodon.keys import Key, is_private
from mastomend.storage.ports import CACHE_CONTROL, MISSING, UNREADABLE, Requests
from mastomend.vocabulary import Content

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from obstore import ListStream

_PAGE = 1000
_CONCURRENCY = 32
#: From so many keys on, a page of a listing is tried; it goes on while each answers so many (a page costs 12 look-ups).
_MANY, _WORTH = 64, 13
_MAY_BE_REFUSED = frozenset({"AccessDenied", "NotImplemented", "MethodNotAllowed"})
_IN_MEMORY = 8 * 1024 * 1024
_CODE = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")


class ObjectStore:
    """What every bucket can do: list, look up, read. Writing is the provider's."""

    def __init__(self, store: S3Store | AzureStore, name: str) -> None:
        self._store = store
        self._name = name
        self.requests = Requests()
        self._threads = ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="objects")
        self._counting = threading.Lock()

    def probe(self) -> bool:
        try:
            self.requests.list += 1
            for batch in obstore.list(self._store, chunk_size=1):
                return len(batch) > 0
        except BaseError as error:
            raise self._failure(error) from None
        return False

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        with self._counting:
            self.requests.head += len(keys)
        return list(self._threads.map(self._size, keys))

    def _size(self, key: str) -> int:
        try:
            return int(obstore.head(self._store, key)["size"])
        except (FileNotFoundError, ValueError):  # a name no object can have, such as one with a zero byte
            return MISSING
        except PermissionDeniedError:
            return UNREADABLE
        except BaseError as error:
            if "status code: 403" in str(error):
                return UNREADABLE
            raise self._failure(error) from None

    def obstacle(self, key: str) -> str:
        return f"{self._name} does not let this access key look at it (403)"

    def list(self, prefix: str) -> Iterator[RecordBatch]:
        return self._pages(prefix, None)

    def _pages(self, prefix: str, after: str | None) -> Iterator[RecordBatch]:
        with self._counted() as page_came, self._worded():
            for page in self._listing(prefix, after):
                page_came()
                yield _objects(page)

    def _listing(self, prefix: str, after: str | None) -> ListStream[RecordBatch]:
        """A page of the storage at a time: one request each."""
        return obstore.list(self._store, prefix.rstrip("/") or None, offset=after, chunk_size=_PAGE, return_arrow=True)

    @contextmanager
    def _counted(self) -> Iterator[Callable[[], None]]:
        """Counts the requests of one listing: its pages, or one if nothing came."""
        pages = 0

        def page_came() -> None:
            nonlocal pages
            pages += 1

        try:
            yield page_came
        finally:
            with self._counting:
                self.requests.list += max(1, pages)

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except BaseError as error:
            raise self._failure(error) from None

    def clear(self, key: Key) -> None:
        """A cut-off upload leaves nothing under a key and nothing beside it."""

    def read(self, key: Key) -> bytes | None:
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise self._failure(error, key) from None

    def fetch(self, key: Key, spare: Path) -> Content:
        try:
            found = obstore.get(self._store, key)
            if found.meta["size"] <= _IN_MEMORY:
                return bytes(found.bytes())
            with spare.open("wb") as file:
                for piece in found.stream():
                    file.write(piece)
        except FileNotFoundError:
            raise StorageError(f"{self._name}: {key} does not exist.") from None
        except BaseError as error:
            raise self._failure(error, key) from None
        return spare

    def digest(self, key: Key) -> str | None:
        found = hashlib.sha256()
        try:
            for piece in obstore.get(self._store, key).stream():
                found.update(piece)
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise self._failure(error, key) from None
        return found.hexdigest()

    def folders(self, prefix: str = "") -> Sequence[str]:
        self.requests.list += 1
        try:
            found = obstore.list_with_delimiter(self._store, prefix.rstrip("/") or None)
        except BaseError as error:
            raise self._failure(error) from None
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])

    def _failure(self, error: BaseError, key: str = "") -> StorageError | ConfigurationError:
        text = str(error)
        match = _CODE.search(text)
        return failure(self._name, match[1] if match else "", text, key)


def _objects(page: RecordBatch) -> RecordBatch:
    return RecordBatch.from_arrays([page["path"], page["size"]], names=["key", "size"])


def failure(name: str, code: str, text: str, key: str = "") -> StorageError | ConfigurationError:
    """The provider's error in words that say what to do; long bodies and request details are left out."""
    if code in ("NoSuchBucket", "ContainerNotFound", "InvalidBucketName"):
        return ConfigurationError(f"{name}: the bucket does not exist.", hint="Check S3_BUCKET and S3_ENDPOINT.")
    if code in ("SignatureDoesNotMatch", "InvalidAccessKeyId", "AuthenticationFailed", "InvalidSecurity"):
        return StorageError(
            f"{name} refuses the credentials ({code}).", hint="Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if code in ("AccessDenied", "AllAccessDisabled") or " 403 " in text:
        return StorageError(
            f"{name} refuses access ({code or '403'}).",
            hint="The key needs ListBucket, GetObject, PutObject, PutObjectAcl and DeleteObject on this bucket; "
            "ListBucketMultipartUploads and AbortMultipartUpload help to clean up after a crash.",
        )
    where = f" at {key}" if key else ""
    first = text.splitlines()[0][:300] if text else code
    return StorageError(f"{name}{where}: {first}", hint="Is the object store up and reachable from this machine?")


def _client_options(connect_s: float, read_s: float, *, allow_http: bool) -> Any:
    return {
        "allow_http": allow_http,
        "connect_timeout": timedelta(seconds=connect_s),
        "read_timeout": timedelta(seconds=max(read_s, 30)),  # a listing page takes longer than one object
        "timeout": timedelta(seconds=300),
    }


_RETRIES: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


class S3ObjectStore(ObjectStore):
    """An S3-compatible bucket; writes carry Mastodon's ACL, Cache-Control and storage class."""

    def __init__(self, settings: S3Storage) -> None:
        self._settings = settings
        credentials: dict[str, Any] = {}
        if settings.access_key_id:
            credentials = {
                "access_key_id": settings.access_key_id,
                "secret_access_key": settings.secret_access_key.reveal(),
            }
        else:
            from obstore.auth.boto3 import Boto3CredentialProvider

            credentials = {"credential_provider": Boto3CredentialProvider()}
        endpoint: dict[str, Any] = {"endpoint": settings.endpoint} if settings.endpoint else {}
        store = S3Store(
            settings.bucket,
            region=settings.region,
            virtual_hosted_style_request=settings.virtual_host_style,
            client_options=_client_options(
                settings.open_timeout_s,
                settings.read_timeout_s,
                allow_http=bool(settings.endpoint and settings.endpoint.startswith("http://")),
            ),
            retry_config=_RETRIES,
            **endpoint,
            **credentials,
        )
        super().__init__(store, str(settings))

    async def list_after(self, prefix: str, after: str | None) -> AsyncGenerator[RecordBatch, None]:
        with self._counted() as page_came, self._worded():
            async for page in self._listing(prefix, after):
                page_came()
                yield _objects(page)

    def sizes(self, keys: Sequence[str]) -> Sequence[int]:
        """One request a key; of many keys those that lie close together are found in pages of a listing instead."""
        found = self._from_pages(sorted(set(keys))) if len(keys) >= _MANY else {}
        asked = [key for key in dict.fromkeys(keys) if key not in found]
        found.update(zip(asked, super().sizes(asked), strict=True))
        return [found[key] for key in keys]

    def _from_pages(self, keys: Sequence[str]) -> dict[str, int]:
        """The sizes of the first of those keys, for as long as a page answers enough of them to be worth its price.

        Where nearly all is missing, and so nearly nothing listed, one page answers for a thousand keys.
        """
        found: dict[str, int] = {}
        position = 0
        while position + _WORTH <= len(keys):
            before = keys[position][:-1]
            try:
                page = next(self._pages("", before), None)
            except (StorageError, ValueError):
                return found  # listing may be refused where looking is not; not every word can be asked for
            listed = [] if page is None else page["key"].to_pylist()
            if listed != sorted(listed) or (listed and listed[0] <= before):
                return found  # in no order: what is not in the page may still be there
            held = {} if page is None else dict(zip(listed, page["size"].to_pylist(), strict=True))
            reached = len(keys) if len(held) < _PAGE else bisect.bisect_right(keys, listed[-1], position)
            found.update((key, int(held.get(key, MISSING))) for key in keys[position:reached])
            if reached - position < _WORTH:
                return found
            position = reached
        return found

    @cached_property
    def _client(self) -> S3Client:
        import boto3
        from botocore.config import Config

        s = self._settings
        return boto3.client(
            "s3",
            endpoint_url=s.endpoint,
            region_name=s.region,
            aws_access_key_id=s.access_key_id,
            aws_secret_access_key=s.secret_access_key.reveal() or None,
            config=Config(
                connect_timeout=s.open_timeout_s,
                read_timeout=max(s.read_timeout_s, 30),
                retries={"mode": "standard", "total_max_attempts": 4},
                max_pool_connections=_CONCURRENCY,
                s3={"addressing_style": "virtual" if s.virtual_host_style else "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _write_options(self, key: Key, *, private: bool) -> Any:
        options: dict[str, str] = {}
        private = private or is_private(key, self._settings.key_prefix)
        if self._settings.permission is not None:
            options["ACL"] = "private" if private else self._settings.permission
        if self._settings.storage_class:
            options["StorageClass"] = self._settings.storage_class
        return options

    def _call(self, operation: Callable[[], object], key: str) -> None:
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            operation()
        except S3UploadFailedError as error:
            raise failure(self._name, "", str(error), key) from None
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise failure(self._name, code, str(error), key) from None
        except BotoCoreError as error:
            raise failure(self._name, "", str(error), key) from None

    def put(self, key: Key, data: Content, content_type: str) -> None:
        options = {
            "ContentType": content_type,
            "CacheControl": CACHE_CONTROL,
            **self._write_options(key, private=False),
        }

        def put() -> None:
            if isinstance(data, bytes):
                self._client.put_object(Bucket=self._settings.bucket, Key=key, Body=data, **options)
                return
            from boto3.s3.transfer import TransferConfig

            config = TransferConfig(multipart_threshold=self._settings.multipart_threshold, use_threads=False)
            self._client.upload_file(str(data), self._settings.bucket, key, ExtraArgs=options, Config=config)

        self._call(put, key)

    def clear(self, key: Key) -> None:
        """A cut-off upload in parts is invisible, but its parts are kept, and paid for, until somebody ends it."""
        from botocore.exceptions import ClientError

        def end() -> None:
            try:
                found = self._client.list_multipart_uploads(Bucket=self._settings.bucket, Prefix=key)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _MAY_BE_REFUSED:
                    return  # the parts cost a little; this is no reason to stop
                raise
            for upload in found.get("Uploads", []):
                if upload.get("Key") == key:
                    self._client.abort_multipart_upload(
                        Bucket=self._settings.bucket, Key=key, UploadId=upload.get("UploadId", "")
                    )

        self._call(end, key)

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        def copy() -> object:
            return self._client.copy_object(
                Bucket=self._settings.bucket,
                Key=target,
                CopySource={"Bucket": self._settings.bucket, "Key": source},
                MetadataDirective="COPY",
                **self._write_options(target, private=private),
            )

        self._call(copy, source)

    def move(self, source: Key, target: Key, *, private: bool) -> None:
        self.copy(source, target, private=private)
        self._call(lambda: self._client.delete_object(Bucket=self._settings.bucket, Key=source), source)


class AzureObjectStore(ObjectStore):
    """An Azure container. Blobs are written with their Content-Type only, as Mastodon does (facts §4.2)."""

    def __init__(self, settings: AzureStorage) -> None:
        endpoint: dict[str, Any] = {"endpoint": settings.endpoint} if settings.endpoint else {}
        store = AzureStore(
            container_name=settings.container,
            account_name=settings.account,
            account_key=settings.access_key.reveal(),
            client_options=_client_options(5, 30, allow_http=bool(settings.endpoint)),
            retry_config=_RETRIES,
            **endpoint,
        )
        super().__init__(store, str(settings))

    def put(self, key: Key, data: Content, content_type: str) -> None:
        attributes: Any = {"Content-Type": content_type}
        try:
            obstore.put(self._store, key, data, attributes=attributes, use_multipart=isinstance(data, Path))
        except BaseError as error:
            raise self._failure(error, key) from None

    def copy(self, source: Key, target: Key, *, private: bool) -> None:
        try:
            obstore.copy(self._store, source, target)
        except (BaseError, FileNotFoundError) as error:
            raise failure(self._name, "", str(error), source) from None

    def move(self, source: Key, target: Key, *, private: bool) -> None:
        self.copy(source, target, private=private)
        try:
            obstore.delete(self._store, source)
        except BaseError as error:
            raise self._failure(error, source) from None
