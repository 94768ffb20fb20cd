"""The one place that turns a storage's settings into a storage."""

from __future__ import annotations

from typing import assert_never

from mastomend.mastodon.storage_settings import AzureStorage, FilesystemStorage, S3Storage, Storage
from mastomend.storage.filesystem import FilesystemStore
from mastomend.storage.ports import Store


def build(settings: Storage) -> Store:
    """A storage that is not yet reached; `probe()` reaches it."""
    match settings:
        case FilesystemStorage(root=root):
            return FilesystemStore(root)
        case S3Storage():
            from mastomend.storage.objects import S3ObjectStore

            return S3ObjectStore(settings)
        case AzureStorage():
            from mastomend.storage.azure import AzureObjectStore

            return AzureObjectStore(settings)
        case _:
            assert_never(settings)
