"""A real Azure blob server for the tests: Azurite, from the npm registry, where node is at hand."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import obstore
from obstore.store import AzureStore

from mastomend.demo.instance import Media
from mastomend.demo.services import free_ports
from mastomend.mastodon.storage_settings import AzureStorage
from mastomend.mastodon.values import Secret

#: Azurite's well-known account; it is no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_HOME = Path(sys.prefix) / "azurite"


def install() -> str | None:
    """Azurite's blob server, installed beside the virtual environment when it is not there; None without node."""
    program = _HOME / "node_modules" / ".bin" / "azurite-blob"
    if shutil.which("npm") and shutil.which("node"):
        with (Path(sys.prefix) / "azurite.lock").open("w") as lock:  # several workers begin at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                _HOME.mkdir(exist_ok=True)
                command = ["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", "--prefix", str(_HOME)]
                subprocess.run(
                    [*command, "azurite@3"], check=False, timeout=300, stdin=subprocess.DEVNULL, capture_output=True
                )
    return str(program) if program.exists() else None


@contextmanager
def azurite(program: str, folder: Path) -> Iterator[str]:
    """A running server; yields its endpoint."""
    (port,) = free_ports(1)
    command = [program, "--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen([*command, "--disableTelemetry"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None and time.monotonic() < deadline, "Azurite does not come up"
            try:
                urlopen(endpoint, timeout=1).close()
                break
            except HTTPError:
                break
            except (URLError, OSError):
                time.sleep(0.1)
        yield endpoint
    finally:
        process.terminate()
        process.wait(timeout=20)


def container(endpoint: str, name: str) -> AzureStorage:
    """A new, empty container."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{k}:{v}" for k, v in sorted(headers.items()))]
    text = "\n".join([*lines, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    headers["Content-Length"] = "0"
    urlopen(Request(f"{endpoint}/{name}?restype=container", method="PUT", headers=headers), timeout=10).close()
    return AzureStorage(ACCOUNT, Secret(KEY), name, endpoint)


class ContainerMedia(Media):
    """Media in a container."""

    def __init__(self, settings: AzureStorage) -> None:
        self._store = AzureStore(
            container_name=settings.container, account_name=settings.account, account_key=settings.access_key.reveal(),
            endpoint=settings.endpoint or "", client_options={"allow_http": True},
        )  # fmt: skip

    def write(self, key: str, data: bytes) -> None:
        obstore.put(self._store, key, data)

    def delete(self, key: str) -> None:
        obstore.delete(self._store, key)

    def read(self, key: str) -> bytes | None:
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None

    def content_type(self, key: str) -> str:
        """What the blob says it is."""
        return str(obstore.get(self._store, key).attributes.get("Content-Type"))

    def keys(self) -> set[str]:
        return {entry["path"] for batch in obstore.list(self._store) for entry in batch}
