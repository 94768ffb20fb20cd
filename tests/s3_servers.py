"""Further S3 servers for the conformance suite: OpenStack Swift with its s3api (strict), and moto (what anonymous readers see).

Both are installed beside the virtual environment when they are not there: their own dependencies are none of Mastomend's.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from mastomend.demo.services import S3Server, free_ports

_HOME = Path(sys.prefix) / "s3-servers"
_PATIENCE_S = 120.0
_PIPELINE = (
    "catch_errors gatekeeper cache listing_formats s3api tempauth copy slo versioned_writes symlink proxy-logging"
)


def install() -> Path | None:
    """The folder of the programs; None where they cannot be installed."""
    programs = _HOME / "bin"
    with (Path(sys.prefix) / "s3-servers.lock").open("w") as lock:  # several workers begin at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(programs)
    found = (programs / "swift-proxy-server").exists() and (programs / "moto_server").exists()
    return programs if found else None


def _install(programs: Path) -> None:
    if not (programs / "swift-proxy-server").exists() or not (programs / "moto_server").exists():
        venv.create(_HOME, with_pip=True, clear=True)
        command = [
            str(programs / "pip"),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "moto[server]>=5.2",
            "swift>=2.38",
        ]
        subprocess.run(command, check=False, timeout=600, capture_output=True)


def _wait(url: str, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and all(process.poll() is None for process in processes):
        try:
            urlopen(url, timeout=2).close()
        except HTTPError:
            return
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{url} does not answer: {[process.poll() for process in processes]}")


@contextmanager
def moto(programs: Path) -> Iterator[S3Server]:
    """A running moto."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [str(programs / "moto_server"), "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(f"http://127.0.0.1:{port}/", [process])
        yield S3Server(f"http://127.0.0.1:{port}", "moto", "a secret nobody checks")
    finally:
        process.kill()
        process.wait()


@contextmanager
def swift(programs: Path) -> Iterator[S3Server]:
    """A running Swift of one replica: account, container, object and proxy servers."""
    with tempfile.TemporaryDirectory(prefix="mm-swift-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ports = dict(zip(("account", "container", "object", "proxy"), free_ports(4), strict=True))
        (folder / "devices/d1").mkdir(parents=True)
        (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n")
        for ring in ("account", "container", "object"):
            _ring(programs, folder, ring, ports[ring])
            _config(folder, ring, ports[ring], "", f"use = egg:swift#{ring}\n")
        filters = "".join(
            f"[filter:{one}]\nuse = egg:swift#{_EGGS.get(one, one)}\n" + _OPTIONS.get(one, "")
            for one in _PIPELINE.split()
        )
        _config(folder, "proxy", ports["proxy"], filters, "use = egg:swift#proxy\naccount_autocreate = true\n")
        environment = os.environ | {"SWIFT_TEST_CONFIG_FILE": ""}
        processes = []
        for server in ports:
            command = [
                str(programs / "python"),
                str(programs / f"swift-{server}-server"),
                str(folder / f"{server}.conf"),
            ]
            log = stack.enter_context((folder / f"{server}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            stack.callback(_stop, process)
            processes.append(process)
        _wait(f"http://127.0.0.1:{ports['proxy']}/", processes)
        yield S3Server(f"http://127.0.0.1:{ports['proxy']}", "test:tester", "testing-swift")


_EGGS = {"cache": "memcache", "proxy-logging": "proxy_logging"}
_OPTIONS = {
    "cache": "memcache_servers =\n",
    "tempauth": "user_test_tester = testing-swift .admin\nallow_overrides = true\n",
    "s3api": "s3_acl = true\ndns_compliant_bucket_names = false\nallow_no_owner = true\nforce_swift_request_proxy_log = no\n",
}


def _ring(programs: Path, folder: Path, ring: str, port: int) -> None:
    builder = str(folder / f"{ring}.builder")
    for words in (["create", "4", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
        command = [str(programs / "python"), str(programs / "swift-ring-builder"), builder, *words]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


def _config(folder: Path, server: str, port: int, filters: str, app: str) -> None:
    pipeline = f"{_PIPELINE} proxy-server" if filters else f"{server}-server"
    (folder / f"{server}.conf").write_text(
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nuser = {getpass.getuser()}\n"
        f"swift_dir = {folder}\ndevices = {folder}/devices\nmount_check = false\nlog_name = {server}\nlog_level = ERROR\n"
        f"log_address = /dev/null\n"
        f"[pipeline:main]\npipeline = {pipeline}\n[app:{server}-server]\n{app}{filters}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
