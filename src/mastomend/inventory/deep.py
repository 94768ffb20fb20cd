"""`check --deep`: read files whose size is right and see whether they decode."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mastomend.errors import ObjectError, UnreadableError
from mastomend.images.decode import UnusableImage, verify
from mastomend.images.moving import FORMATS
from mastomend.images.programs import guards, run
from mastomend.inventory.sample import Sample
from mastomend.mastodon.keys import ORIGINAL, Key
from mastomend.mastodon.kinds import MEDIA_FILES, Kind
from mastomend.reasons import Reason
from mastomend.storage.ports import Reading
from mastomend.vocabulary import Row

_IN_FLIGHT = 32
_FFPROBE_TIMEOUT_S = 30
_FFPROBE_BYTES = 1024 * 1024 * 1024


class DeepReader:
    """Reads sampled files in threads; `broken` holds (kind, id, style, key) of those that did not decode."""

    def __init__(self, store: Reading, sample: Sample, ffprobe: str | None, report: Callable[[], None]) -> None:
        self._store = store
        self._sample = sample
        self._ffprobe = ffprobe
        self._report = report
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="deep")
        self._pending: list[tuple[Future[str | None], tuple[Kind, int, str, str]]] = []
        self.broken: list[tuple[Kind, int, str, str]] = []
        self.read = 0

    def offer(self, kind: Kind, record_id: int, style: str, key: str) -> None:
        """Read the file if the sample chooses it."""
        if kind.is_image and self._sample.chooses(kind.name, record_id, style):
            self._pending.append(
                (self._threads.submit(self.examine, kind, style, Key(key)), (kind, record_id, style, key))
            )
            if len(self._pending) > _IN_FLIGHT:
                self._settle()

    def drain(self) -> list[tuple[Kind, int, str, str]]:
        """Wait for what is under way; the broken files since the last call."""
        while self._pending:
            self._settle()
        found, self.broken = self.broken, []
        return found

    def close(self) -> None:
        """Give back the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __call__(self, kind: Kind, row: Row, style: str, key: Key) -> str | None:
        """A second look at one file, for `inspect.broken_files`."""
        return self.examine(kind, style, key)

    def _settle(self) -> None:
        future, file = self._pending.pop(0)
        try:
            is_broken = future.result() is not None
            self.read += 1
        except ObjectError:
            is_broken = True  # what could not be read is looked at again, and then told
        if is_broken:
            self.broken.append(file)
        self._report()

    def examine(self, kind: Kind, style: str, key: Key) -> str | None:
        """What is wrong with the file; None if it decodes, vanished meanwhile, or is of a sort we cannot judge.

        Raises:
            ObjectError: it cannot be read, or there is no room to look at it.
        """
        extension = key.rpartition(".")[2].lower()
        if kind is MEDIA_FILES and style == ORIGINAL and extension not in _IMAGE_EXTENSIONS:
            return self._probe(key, extension)
        data = self._store.read(key)
        if data is None:
            return None
        try:
            verify(data)
        except UnusableImage as error:
            if _is_other_image(data):
                return None
            if error.reason in (Reason.TOO_MANY_PIXELS, Reason.NEEDS_DECODER) or (
                data[4:8] == b"ftyp" and b"av" not in data[8:12]
            ):
                raise UnreadableError(f"{key} cannot be judged: {error}.") from None
            return str(error)
        return None

    def _probe(self, key: Key, extension: str) -> str | None:
        if self._ffprobe is None:
            raise UnreadableError(f"{key} cannot be judged: ffprobe was not found.")
        data = self._store.read(key)
        if data is None:
            return None
        with tempfile.NamedTemporaryFile(suffix=f".{extension}" if extension.isalnum() else "") as file:
            try:
                file.write(data)
                file.flush()
            except OSError as error:
                raise ObjectError(f"{key} cannot be looked at: {file.name}: {error.strerror}.") from None
            command = [
                self._ffprobe,
                "-v",
                "error",
                *guards(FORMATS),
                "-show_entries",
                "format=format_name",
            ]
            command += ["-i", f"file:{file.name}"]
            try:
                done = run(command, seconds=_FFPROBE_TIMEOUT_S, memory=_FFPROBE_BYTES)
            except UnusableImage:
                return "ffprobe did not finish"
        if done.returncode == 0:
            return None
        return (
            done.stderr.decode(errors="replace").strip().replace(file.name, Path(key).name)[-200:] or "ffprobe refuses"
        )


_IMAGE_EXTENSIONS = frozenset({"jpeg", "jpg", "jpe", "jfif", "png", "gif", "webp", "avif", "heic", "heif"})


def _is_other_image(data: bytes) -> bool:
    """Icons and SVG are accepted by Mastodon in some places and decoded by nobody: that they are of that sort is enough."""
    start = data[:512]
    return start[:4] == b"\0\0\1\0" or b"<svg" in start.lower()
