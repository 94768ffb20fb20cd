"""What a bucket bills that no listing of its objects shows: old versions, and uploads in parts that were never finished.

A store that does not know these questions, or may not answer them, does not tell: that is None, never nothing.
"""

from __future__ import annotations

from mastomend.storage.s3_answers import Answer, parse_parts, parse_uploads, parse_versions
from mastomend.storage.s3_client import S3Client

#: Answers of a store that does not know a question, or may not answer it.
_NOT_TOLD = (400, 403, 405, 501)


class Billing:
    """The questions about one bucket."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    async def old_versions(self, prefix: str) -> tuple[int, int] | None:
        """How many versions of objects are not the newest, and their bytes; None if the store does not tell."""
        answer = await self._client.request("GET", query=[("versioning", "")], heard=_NOT_TOLD)
        assert isinstance(answer, Answer)
        if answer.status < 300 and b"<Status>" not in answer.body and b"VersioningConfiguration" in answer.body:
            return 0, 0  # it never kept any
        files = size = 0
        mark: tuple[str, str] | None = ("", "")
        seen: set[tuple[str, str]] = set()
        while mark is not None:
            if mark in seen:
                return None  # it gives the same page again
            seen.add(mark)
            query = [("versions", ""), ("encoding-type", "url"), *([("prefix", prefix)] if prefix else [])]
            query += [
                (name, value) for name, value in zip(("key-marker", "version-id-marker"), mark, strict=True) if value
            ]
            answer = await self._client.request("GET", query=query, heard=_NOT_TOLD)
            assert isinstance(answer, Answer)
            if answer.status >= 300:
                return None
            try:
                some, its, mark = parse_versions(answer)
            except ValueError:  # it knows no such question, and lists as ever
                return None
            files, size = files + some, size + its
        return files, size

    async def unfinished(self, prefix: str) -> tuple[int, int] | None:
        """How many uploads in parts were never finished, and the bytes of their parts; None if the store does not tell."""
        files = size = 0
        mark: tuple[str, str] | None = ("", "")
        seen: set[tuple[str, str]] = set()
        while mark is not None:
            if mark in seen:
                return None
            seen.add(mark)
            query = [("uploads", ""), *([("prefix", prefix)] if prefix else [])]
            query += [
                (name, value) for name, value in zip(("key-marker", "upload-id-marker"), mark, strict=True) if value
            ]
            answer = await self._client.request("GET", query=query, heard=_NOT_TOLD)
            assert isinstance(answer, Answer)
            if answer.status >= 300:
                return None
            try:
                uploads, mark = parse_uploads(answer)
            except ValueError:
                return None
            for parts in await self._client.each(uploads, self._parts):
                if parts is None:
                    return None
                files, size = files + 1, size + parts
        return files, size

    async def _parts(self, upload: tuple[str, str]) -> int | None:
        """The bytes of one; None if it may not be asked."""
        key, number = upload
        size, behind = 0, ""
        while True:
            query = [("uploadId", number), *([("part-number-marker", behind)] if behind else [])]
            answer = await self._client.request("GET", key, query=query, heard=(*_NOT_TOLD, 404))
            assert isinstance(answer, Answer)
            if answer.status == 404:
                return 0  # it was finished meanwhile
            if answer.status >= 300:
                return None
            try:
                its, more = parse_parts(answer)
            except ValueError:
                return None
            size += its
            if more is None or more == behind:
                return size
            behind = more
