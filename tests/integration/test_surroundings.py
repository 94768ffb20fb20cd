"""Hostile or broken surroundings: secrets, streams, foreign text, defects, rights (issue 10, E23 and F)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from broken import record
from conftest import MakeInstance, opened
from databases import pgbouncer
from tool import called

from mastomend.cli import app
from mastomend.cli.app import run
from mastomend.cli.output import Console, escape
from mastomend.commands import check as check_module
from mastomend.commands.check import check
from mastomend.commands.instance import open_instance
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.demo.pictures import picture
from mastomend.errors import ConfigurationError
from mastomend.remote.asking import Ask, Failure, NotFetched
from mastomend.remote.client import GuardedClient, TimeLimits

SECRET = "hunter2-never-print-this"


def command(instance: SimulatedInstance, *words: str, **options: object) -> subprocess.CompletedProcess[Any]:
    variables = options.pop("variables", {})
    environment = {"PATH": os.environ["PATH"], "HOME": str(instance.folder), **variables}  # type: ignore[dict-item]
    named = ["--env", str(instance.env), "--state", str(instance.state), *words]
    if options == {"text": True}:
        return called(named, environment)
    arguments = [sys.executable, "-m", "mastomend", *named]
    given = {"capture_output": True, "timeout": 120, "check": False} | options
    return subprocess.run(arguments, env=environment, **given)  # type: ignore[call-overload,no-any-return]


# --- E23: where the settings are ----------------------------------------------------------------------------------------


def test_e23_the_process_s_variables_are_enough(
    make_instance: MakeInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = make_instance()
    record(instance, domain="a.example", damage="missing")
    variables = dict(line.split("=", 1) for line in instance.env.read_text().splitlines() if not line.startswith("#"))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    found = open_instance(None, tmp_path / "state", variables)
    assert (found.configuration.local_domain, found.folder) == ("example.social", tmp_path / "empty")
    done = command(instance, "check", "--json", cwd=tmp_path / "empty")
    arguments = [sys.executable, "-m", "mastomend", "--state", str(tmp_path / "state"), "check", "--json"]
    done = subprocess.run(
        arguments, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables}, cwd=tmp_path / "empty",
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and json.loads(done.stdout)["totals"]["records_broken"] == 1
    with pytest.raises(ConfigurationError, match="LOCAL_DOMAIN"):
        open_instance(None, tmp_path / "state", {})


def test_e23_any_readable_path_will_do(make_instance: MakeInstance, tmp_path: Path) -> None:
    """A pipe, as `--env <(sops -d secrets.env)` makes it; a file of any name."""
    instance = make_instance()
    record(instance)
    other = tmp_path / "secrets"
    other.write_text(instance.env.read_text())
    assert open_instance(other, tmp_path / "state", {}).configuration.local_domain == "example.social"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(instance.env.read_text()))
    writer.start()
    assert open_instance(pipe, tmp_path / "state", {}).configuration.local_domain == "example.social"
    writer.join()
    for wrong, words in ((tmp_path, "is a directory"), (tmp_path / "nope", "does not exist")):
        with pytest.raises(ConfigurationError, match=words):
            open_instance(wrong, None, {})


def test_e20_a_prefix_mastodon_4_2_does_not_know_is_refused(make_instance: MakeInstance) -> None:
    instance = make_instance("4.2", "s3")
    record(instance)
    with instance.env.open("a") as file:
        file.write("S3_KEY_PREFIX=attic\n")
    with pytest.raises(ConfigurationError, match=r"4\.2 ignores it"):
        check(opened(instance))


@pytest.mark.parametrize("prefix", ["attic", "attic/", "/attic/"])
def test_e20_a_prefix_with_slashes_from_end_to_end(
    make_instance: MakeInstance, network: Fediverse, prefix: str
) -> None:
    """moto takes keys with empty segments; so does Mastodon's own client."""
    instance = make_instance("4.5", "moto", key_prefix=prefix)
    instance.key_prefix = prefix.removeprefix("/")
    origin = network.add("good.example")
    made = [record(instance, origin=origin) for _ in range(3)]
    assert made[0].key.startswith(f"{prefix.removeprefix('/')}/cache/")
    assert check(opened(instance)).broken == 0
    instance.media.delete(made[0].key)
    assert repair(opened(instance), RepairOptions(apply=True)).outcomes == {"restored": 1}
    assert check(opened(instance)).broken == 0


def test_e21_an_empty_host_is_the_socket_for_every_driver(make_instance: MakeInstance, socket_dir: str) -> None:
    """psycopg's libpq and ADBC's look in different places: the same folder is named to both."""
    instance = make_instance()
    record(instance, domain="a.example", damage="missing")
    instance.env.write_text(instance.env.read_text().replace(f"DB_HOST={socket_dir}", "DB_HOST="))
    done = command(instance, "check", "--json", variables={"PGHOST": socket_dir})
    assert done.returncode == 1 and json.loads(done.stdout)["new"] == 1, done.stderr
    done = command(instance, "check")
    assert done.returncode == 3 and b"local socket" in done.stderr and b"DB_HOST" in done.stderr


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer")
@pytest.mark.parametrize("told", ["", "?prepared_statements=false"])
def test_e25_a_pooler_is_found_by_itself(
    make_instance: MakeInstance, network: Fediverse, socket_dir: str, told: str
) -> None:
    """Nothing in the settings says so, or the URL does; nothing is prepared, again and again."""
    instance = make_instance()
    origins = [network.add(f"s{n}.example") for n in range(4)]
    name = instance.db.info.dbname
    with pgbouncer(socket_dir, name) as port:
        text = re.sub(r"^DB_.*$\n", "", instance.env.read_text(), flags=re.M)
        instance.env.write_text(f"{text}DATABASE_URL=postgres://postgres@127.0.0.1:{port}/{name}{told}\n")
        for n in range(30):
            made = record(instance, origin=origins[n % 4], name=f"p{n}", damage="missing")
            origins[n % 4].files[f"/p{n}"] = picture(900 + n)
            assert made.key
        (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n[politeness]\nrate = 0\nper_host = 8\n")
        instance.media.write("cache/accounts/avatars/kept", b"x")
        done = repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100))
        assert done.undone == 0, done.reasons


# --- F29, F30: settings that cannot be used -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": f"postgres://m:12#{SECRET}@db/x"},
        {"DATABASE_URL": f"postgres://m:{SECRET}/12@db/x"},
        {"DATABASE_URL": f"postgres://m:12?{SECRET}@db/x"},
        {"DATABASE_URL": f"postgres://m:{SECRET}@[db/x"},
        {"REDIS_URL": f"redis://:12#{SECRET}@h"},
        {"REDIS_URL": f"redis://:{SECRET}@h:port"},
        {"REDIS_URL": SECRET},
        {"REDIS_URL": f"redis://:{SECRET}@[::1"},
        {"http_proxy": f"http://u:{SECRET}@[proxy"},
        {"http_proxy": f"socks://u:{SECRET}@proxy"},
        {"S3_ENABLED": "true", "S3_BUCKET": "b", "S3_ENDPOINT": "https://[bad", "AWS_SECRET_ACCESS_KEY": SECRET},
        {"S3_ENABLED": "true", "S3_BUCKET": "b", "S3_ENDPOINT": f"https://u:{SECRET}@s3.example"},
        {"AZURE_ENABLED": "true", "AZURE_STORAGE_ACCOUNT": "a", "AZURE_CONTAINER_NAME": "c",
         "AZURE_STORAGE_ACCESS_KEY": SECRET},
    ],
)  # fmt: skip
def test_f29_f30_unusable_settings_are_words_and_keep_their_secrets(
    make_instance: MakeInstance, network: Fediverse, variables: dict[str, str]
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("good.example"), damage="missing")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    for words in (["repair", "--apply"], ["repair", "--apply", "--json"]):
        done = command(instance, *words, variables=variables)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 2, said
        assert SECRET not in said and "Traceback" not in said and "Error:" in said and "Next:" in said
        if "--json" in words:
            assert json.loads(done.stdout)["exit_code"] == 2


class Panic(BaseException):
    """As an extension module's panic is: no `Exception`."""


@pytest.mark.parametrize("error", [ZeroDivisionError(f"a defect with {SECRET}"), Panic(SECRET), RecursionError()])
def test_f30_a_defect_is_70_and_shows_no_secret(
    make_instance: MakeInstance,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    instance = make_instance()
    instance.env.write_text(instance.env.read_text() + f"DB_PASS={SECRET}\n")

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(check_module, "check", broken)
    for words in (["check"], ["check", "--json"]):
        assert run(["--env", str(instance.env), "--state", str(instance.state), *words]) == app.DEFECT == 70
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err and "report" in said.err and type(error).__name__ in said.err
        if "--json" in words:
            assert json.loads(said.out)["exit_code"] == 70


def test_f30_wrong_usage_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--nope", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


# --- F31: foreign text --------------------------------------------------------------------------------------------------

HOSTILE = ["\\[/].example", "[bold]x[/]", "[/]", "\\", "a\\\\[/b]", ":smile:", "x\nDone.", "\x1b[2J", "[link=http://x]y[/link]",
           "\u202egnp.exe", "\r", "[[a]]", "\\\\\\[", "#[/red]", "\x07", "\ue000\ue001"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_f31_foreign_text_is_never_markup(text: str) -> None:
    """Whatever stands around it: it is shown as it is, in one line, and what stands around it works."""
    import io

    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text)
    for frame in ("{}", "[bold]{}[/]", "[red]a{}[/]b", "x {} [green]y[/]"):
        out = io.StringIO()
        Console(file=out, soft_wrap=True, highlight=False, emoji=False).print(frame.format(escape(text)))
        assert out.getvalue() == re.sub(r"\[/?(?:bold|red|green)?\]", "", frame).format(shown) + "\n"


def test_f31_hostile_domains_in_every_command(
    make_instance: MakeInstance, network: Fediverse, capsys: pytest.CaptureFixture[str]
) -> None:
    instance = make_instance()
    for n, text in enumerate(HOSTILE):
        name = text.replace("\x00", "")
        record(instance, domain=name or "x", remote_url=f"https://h/{n}{name}", file_name=f"{n}.png", damage="missing")
        record(instance, file_name=f"{name.replace('/', '_')}{n}.png", damage="missing")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    instance.media.write("accounts/avatars/kept", b"x")
    base = ["--env", str(instance.env), "--state", str(instance.state)]
    for words, codes in ((["check"], (1,)), (["repair"], (1,)), (["repair", "--apply"], (1,)), (["history"], (0,)),
                         (["history", "--lost"], (0, 1)), (["check"], (1,))):  # fmt: skip
        assert run([*base, *words]) in codes, words
        said = capsys.readouterr()
        assert "\x1b" not in said.out and "\nDone." not in said.out and "\u202e" not in said.out


# --- F34: streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["check"], ["check", "--json"], ["--help"], ["history"]])
def test_f34_a_full_stdout_is_words_and_3(make_instance: MakeInstance, words: list[str]) -> None:
    instance = make_instance()
    record(instance, domain="a.example", damage="missing")
    with Path("/dev/full").open("wb") as full:
        done = command(instance, *words, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    said = done.stderr.decode()
    assert done.returncode == 3, said
    assert "cannot be written" in said and "Traceback" not in said and "Exception ignored" not in said


@pytest.mark.parametrize("words", [["check"], ["check", "--json"], ["repair"]])
def test_f34_a_closed_stdout_is_words_and_3(make_instance: MakeInstance, words: list[str]) -> None:
    instance = make_instance()
    record(instance, domain="a.example", damage="missing")
    arguments = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state), *words]
    line = " ".join(f"'{word}'" for word in arguments)
    done = subprocess.run(["sh", "-c", f"{line} >&-"], capture_output=True, timeout=60, check=False)
    assert done.returncode == 3 and b"closed" in done.stderr and b"Traceback" not in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = command(instance, *words, stdout=writer, stderr=subprocess.PIPE, capture_output=False)
    os.close(writer)
    said = done.stderr.decode()
    assert done.returncode == 3 and "Traceback" not in said and "Exception ignored" not in said, said


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_f34_what_cannot_be_shown_becomes_plain(make_instance: MakeInstance, encoding: str) -> None:
    instance = make_instance()
    record(instance, domain="bücher.例え.example", damage="missing")
    record(instance)
    for words in (["check"], ["check", "--json"], ["--help"], ["repair"]):
        done = command(instance, *words, variables={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
        assert done.returncode in (0, 1) and b"Traceback" not in done.stderr, done.stderr
        done.stdout.decode(encoding)
        if "--json" in words:
            assert json.loads(done.stdout.decode(encoding))["exit_code"] == 1


# --- F37: dripping headers ----------------------------------------------------------------------------------------------


@contextmanager
def dripping(line: bytes) -> Iterator[str]:
    """A server that sends a few bytes of its headers every now and then, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(client,), daemon=True).start()

    def drip(client: socket.socket) -> None:
        try:
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            while not ended.wait(0.05):
                client.sendall(line)
        except OSError:
            pass
        finally:
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    finally:
        ended.set()
        listener.close()


@pytest.mark.parametrize("line", [b"X", b"X-A: b\r\n"])
def test_f37_headers_that_drip_have_an_end(line: bytes) -> None:
    import ipaddress

    limits = TimeLimits(dns_s=0.2, connect_s=0.2, silence_s=0.4, body_s=0.5)

    async def ask(url: str) -> object:
        allowed = [ipaddress.ip_network("127.0.0.0/8")]
        async with GuardedClient("x", allowed, limits=limits) as client:
            return await client.get(Ask(url, 1_000_000))

    with dripping(line) as url:
        began = time.monotonic()
        answer = asyncio.run(ask(url))
    assert isinstance(answer, NotFetched) and answer.failure in (Failure.TIMEOUT, Failure.BROKEN_OFF, Failure.BAD_URL)
    assert time.monotonic() - began < 5


# --- F38: rights --------------------------------------------------------------------------------------------------------


def test_f38_without_the_right_to_update(make_instance: MakeInstance, network: Fediverse) -> None:
    """Several records at once; one error in words with its GRANT, and no traceback of asyncio's."""
    instance = make_instance()
    name = instance.db.info.dbname
    instance.db.execute("DROP ROLE IF EXISTS reader_of_mastomend")
    instance.db.execute("CREATE ROLE reader_of_mastomend LOGIN")
    instance.db.execute(f"GRANT CONNECT ON DATABASE {name} TO reader_of_mastomend")
    instance.db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_of_mastomend")
    try:
        origins = [network.add(f"s{n}.example") for n in range(4)]
        for n in range(12):
            made = record(instance, origin=origins[n % 4], name=f"a{n}", damage="missing")
            origins[n % 4].files[f"/a{n}"] = picture(500 + n)
            assert made.id
        instance.media.write("cache/accounts/avatars/kept", b"x")
        done = command(instance, "repair", "--apply", variables={"DB_USER": "reader_of_mastomend"})
        said = done.stderr.decode()
        assert done.returncode == 3 and "GRANT UPDATE" in said and "accounts" in said
        assert "Traceback" not in said and "never retrieved" not in said and said.count("Error:") == 1
    finally:
        instance.db.execute("DROP OWNED BY reader_of_mastomend")
        with psycopg.connect(host=instance.db.info.host, user="postgres", dbname="postgres", autocommit=True) as server:
            server.execute("DROP ROLE IF EXISTS reader_of_mastomend")


@pytest.mark.parametrize("words", [["check", "nokind"], ["check"], ["repair", "--apply"]])
def test_f34_a_full_stderr_changes_nothing(make_instance: MakeInstance, network: Fediverse, words: list[str]) -> None:
    """Notes that nobody can be told are no reason to stop, or to answer otherwise."""
    instance = make_instance()
    made = record(instance, origin=network.add("good.example"), damage="missing")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    base = [sys.executable, "-m", "mastomend", "--env", str(instance.env), "--state", str(instance.state)]
    heard = subprocess.run([*base, *words, "--json"], capture_output=True, check=False, timeout=60)
    for key in made.keys:
        (instance.folder / "public/system" / key).unlink(missing_ok=True)
    with Path("/dev/full").open("wb") as full:
        deaf = subprocess.run([*base, *words, "--json"], stdout=subprocess.PIPE, stderr=full, check=False, timeout=60)
        mute = subprocess.run([*base, "check"], stdout=full, stderr=full, check=False, timeout=60)
    assert deaf.returncode == heard.returncode
    assert json.loads(deaf.stdout).keys() == json.loads(heard.stdout).keys()
    assert json.loads(deaf.stdout).get("outcomes") == json.loads(heard.stdout).get("outcomes")
    assert mute.returncode == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [("DB_PORT=99999999", "DB_PORT is 99999999"), ("DB_PORT=-5", "DB_PORT"),
     ("DATABASE_URL=postgres://h/d?connect_timeout=abc", "settings of the connection"),
     ("PAPERCLIP_ROOT_PATH=/a\0b", "PAPERCLIP_ROOT_PATH holds a zero byte")],
)  # fmt: skip
def test_f29_settings_that_cannot_be_are_the_operator_s(make_instance: MakeInstance, line: str, words: str) -> None:
    instance = make_instance()
    instance.env.write_text(f"{instance.env.read_text()}\n{line}\n")
    done = command(instance, "check", text=True)
    assert done.returncode == 2 and words in " ".join(done.stderr.split()) and "Traceback" not in done.stderr, (
        done.stderr
    )


@pytest.mark.parametrize("option", ["--env", "--state"])
def test_f29_places_that_cannot_be_are_the_operator_s(make_instance: MakeInstance, option: str) -> None:
    instance = make_instance()
    arguments = {"--env": str(instance.env), "--state": str(instance.state), option: f"/tmp/{'x' * 300}"}
    words = [word for pair in arguments.items() for word in pair]
    base = [sys.executable, "-m", "mastomend"]
    done = subprocess.run([*base, *words, "check"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "File name too long" in done.stderr and "Traceback" not in done.stderr


def test_f29_a_number_beyond_all_reason_in_mastomend_toml(make_instance: MakeInstance) -> None:
    instance = make_instance()
    (instance.env.parent / "mastomend.toml").write_text("settle_seconds = 1e308\n")
    done = command(instance, "check", text=True)
    assert done.returncode == 2 and "settle_seconds" in done.stderr


def test_g42_commands_in_hints_name_the_instance(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance, damage="missing")
    instance.media.write("accounts/avatars/kept", b"x")
    given = f"--env {instance.env} --state {instance.state}"
    done = command(instance, "undo", "20200101T000000Z-0000", text=True)
    assert f"{given} history" in done.stderr
    assert command(instance, "repair", "--apply").returncode == 1
    assert f"{given} repair --local --from DIR" in command(instance, "history", "--lost", text=True).stdout
