"""Habits: what hands type without thinking works, what is asked for is what is looked at, and answers can be read."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broken import record
from conftest import MakeInstance, opened
from tool import called, run

from mastomend.cli.app import app
from mastomend.cli.show import _cell
from mastomend.cli.show_screen import _LINKABLE
from mastomend.cli.words import in_order
from mastomend.commands.repair import repair
from mastomend.commands.repair_report import RepairOptions
from mastomend.commands.systemd import JOBS
from mastomend.demo.fediverse import Fediverse
from mastomend.demo.instance import SimulatedInstance
from mastomend.ids import chosen
from mastomend.mastodon.kinds import EMOJIS, HEADERS, MEDIA_FILES, PREVIEW_CARDS
from mastomend.progress import Silent

INHERITED = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


def tool(*words: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Just the words, no options of ours."""
    return called([*words], {**INHERITED, "HOME": str(cwd or "/nonexistent"), **variables}, cwd)


# --- words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["check", "--env", "e", "-q"], ["--env", "e", "-q", "check"]),
        (["check", "--state=s", "avatars", "--deep"], ["--state=s", "check", "avatars", "--deep=100%"]),
        (["--env", "e", "check"], ["--env", "e", "check"]),
        (["check", "--", "--env", "-q"], ["check", "--", "--env", "-q"]),
        (["check", "--env"], ["--env"]),
        (["repair", "--version"], ["--version", "repair"]),
    ],
)
def test_global_options_stand_anywhere(given: list[str], meant: list[str]) -> None:
    assert in_order(given) == meant


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("20261125T10-aa", "20261125T10-aa"),
        ("20261125", None),
        ("20261125T1", None),
        ("20261125T10", "20261125T10-aa"),
        ("2025", "20251125T10-cc"),
        ("latest", "20261125T11-bb"),
        ("", None),
        ("x", None),
    ],
)
def test_ids_by_their_beginning(name: str, found: str | None) -> None:
    known = ["20251125T10-cc", "20261125T10-aa", "20261125T11-bb"]
    if found is None:
        with pytest.raises(Exception, match=r"There is no run|may be any of|No run is named"):
            chosen(name, known, "run", "hint")
    else:
        assert chosen(name, known, "run", "hint") == found


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("avatrs", "Did you mean avatars?"),
        ("custom_emoji", "Did you mean custom_emojis?"),
        ("images", "'images' may be custom_emojis/images or preview_cards/images"),
        ("imports", "This version of Mastodon does not have it."),
        ("zzz", "There is no kind 'zzz'."),
    ],
)
def test_a_kind_that_is_none(make_instance: MakeInstance, word: str, said: str) -> None:
    done = run(make_instance("4.5").env, "check", word)
    assert done.returncode == 2 and said in done.stderr


def test_an_age_and_a_selection_that_cannot_be(make_instance: MakeInstance) -> None:
    instance = make_instance()
    for words, said in (
        (["check", "--local", "--remote"], "--local and --remote leave nothing"),
        (["check", "--domain", "https://a.example/x"], "is no server's name"),
        (["check", "--account", "a b"], "is no account"),
        (["check", "--status", "nonsense"], "is no post"),
        (["repair", "--apply", "-n"], "--apply and --dry-run contradict each other"),
        (["repair", "--scan", "2020"], "There is no scan '2020'"),
        (["undo", "latest"], "No run has changed anything here"),
        (["show"], "There is no scan or run yet"),
        (["show", "--sort", "size"], "--sort 'size' is none of"),
        (["check", "--log-file", "/nonexistent/x"], "The log file /nonexistent/x cannot be written"),
    ):
        done = run(instance.env, *words)
        assert done.returncode == 2 and said in done.stderr, (words, done.stderr)


# --- quick answers ------------------------------------------------------------------------------------------------------

HEAVY = {
    "psycopg",
    "psycopg_pool",
    "duckdb",
    "arro3",
    "aiohttp",
    "pyvips",
    "redis",
    "obstore",
    "numpy",
    "rich.progress",
    "selectolax",
}


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["repair", "-h"], ["show", "--help"]])
def test_what_answers_at_once_imports_little(words: list[str]) -> None:
    heavy, number, exit_code = imported(words)
    assert (heavy, exit_code) == (set(), 0)
    assert number < 350, "each module is read before an answer comes"


def imported(words: list[str]) -> tuple[set[str], int, int]:
    """What of the heavy modules that command reads, how many modules there are then, and the exit code."""
    code = (
        "import sys\n"
        "from mastomend.cli.app import run\n"
        f"code = run({words!r})\n"
        f"print('|'.join(sorted(set(sys.modules) & {HEAVY!r})) or 'none', len(sys.modules), code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy, number, exit_code = done.stderr.strip().rpartition("\n")[2].split(" ")
    return set(heavy.split("|")) - {"none"}, int(number), int(exit_code)


def test_a_check_reads_nothing_of_what_only_others_need(make_instance: MakeInstance) -> None:
    """It looks from outside only if somebody wants it to, and changes nothing."""
    instance = make_instance()
    words = ["check", "--env", str(instance.env), "--state", str(instance.state)]
    heavy, _, exit_code = imported(words)
    assert exit_code == 0 and not heavy & {"aiohttp", "redis", "pyvips", "selectolax"}


def complete(words: str, cwd: Path) -> set[str]:
    """What bash would offer behind those words."""
    asked = {"_MASTOMEND_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    program = Path(sys.executable).with_name("mastomend")
    environment = {**INHERITED, "HOME": str(cwd), **asked}
    done = subprocess.run([program], capture_output=True, text=True, env=environment, timeout=60, check=False, cwd=cwd)
    return set(done.stdout.split())


def test_tab_offers_kinds_scans_and_runs(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), damage="missing")
    scan = json.loads(run(instance.env, "check", "--json", "--max-missing", "100%").stdout)["scan"]
    done = json.loads(run(instance.env, "repair", "--json", "--apply", "--max-missing", "100%").stdout)
    given = f"mastomend --env {instance.env} --state {instance.state}"
    assert complete("mastomend check ava", instance.folder) == {"avatars"}
    assert complete("mastomend check accounts/", instance.folder) == {"accounts/avatars", "accounts/headers"}
    assert {scan, "latest"} <= complete(f"{given} repair --scan ", instance.folder)
    assert {done["run"], "latest"} == complete(f"{given} undo ", instance.folder)
    assert done["run"] in complete(f"{given} show {done['run'][:8]}", instance.folder)
    assert complete("mastomend --env /nonexistent undo ", instance.folder) == set()
    behind = given.removeprefix("mastomend ")  # global options may stand there, too
    assert {done["run"], "latest"} == complete(f"mastomend undo {behind} ", instance.folder)
    assert done["run"] in complete(f"mastomend show -q {behind} {done['run'][:8]}", instance.folder)
    assert complete(f"mastomend repair {behind} --exclude ava", instance.folder) == {"avatars"}
    assert complete("mastomend show --outcome g", instance.folder) == {"gone"}
    assert complete("mastomend show --sort d", instance.folder) == {"domain"}
    assert "not_found" in complete("mastomend show --reason not", instance.folder)
    asked = {
        "_MASTOMEND_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": f"mastomend history {behind} {done['run'][:8]}",
    }
    program = Path(sys.executable).with_name("mastomend")
    environment = {**INHERITED, "HOME": str(instance.folder), **asked}
    zsh = subprocess.run([program], capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done["run"] in zsh.stdout


def test_help_fits_80_columns_and_examples_are_lines() -> None:
    for command in (info.name for info in app.registered_commands):
        assert command is not None
        done = tool(command, "--help", COLUMNS="80")
        assert done.returncode == 0 and "<bool>" not in done.stdout and "<str>" not in done.stdout
        lines = done.stdout.split("Examples:\n")[1].strip("\n").splitlines()
        assert lines and all(line.startswith("  ") and len(line) <= 79 for line in lines), command
        for line in lines:
            if line.startswith("  mastomend"):
                words = line.partition("#")[0].partition(" > ")[0].split()[1:]
                assert words[0] == command
        assert max(len(line) for line in done.stdout.splitlines()) <= 88


# --- selections ---------------------------------------------------------------------------------------------------------


def broken(instance: SimulatedInstance, *words: str) -> int:
    done = run(instance.env, "check", "--json", "--max-missing", "100%", *words)
    return int(json.loads(done.stdout)["totals"]["records_broken"])


@pytest.fixture
def several(make_instance: MakeInstance, network: Fediverse) -> SimulatedInstance:
    """Two servers, a subdomain of one, somebody who lives here; a post with a picture and a card."""
    instance = make_instance()
    for domain in ("a.example", "sub.a.example", "b.example"):
        origin = network.add(domain)
        record(instance, origin=origin, damage="missing", name=f"u_{domain[0]}{len(domain)}")
        record(instance, EMOJIS, origin=origin, damage="missing")
    record(instance, HEADERS, damage="missing", name="alice")
    account = instance.db.execute("SELECT id FROM accounts WHERE domain = 'b.example'").fetchone()
    assert account is not None
    status = instance.insert(
        "statuses", uri="https://b.example/s/1", url="https://b.example/@u/1", account_id=account["id"]
    )
    record(
        instance,
        MEDIA_FILES,
        origin=network.origins["b.example"],
        damage="missing",
        account_id=account["id"],
        status_id=status,
    )
    card = record(instance, PREVIEW_CARDS, damage="missing", url="https://press.example/a")
    instance.db.execute(
        "INSERT INTO preview_cards_statuses (preview_card_id, status_id) VALUES (%s, %s)", [card.id, status]
    )
    return instance


def test_what_is_selected_is_what_is_looked_at(several: SimulatedInstance) -> None:
    assert broken(several) == 9
    for words, number in {
        ("--domain", "a.example"): 4,
        ("--domain", "A.Example", "--exclude", "custom_emojis"): 2,
        ("--domain", "a.example", "--domain", "b.example"): 7,
        ("--domain", "press.example"): 1,
        ("--exclude", "a.example"): 5,
        ("--exclude", "press.example"): 8,
        ("--local",): 1,
        ("--remote",): 8,
        ("avatars",): 3,
        ("avatars", "--exclude", "sub.a.example"): 2,
        ("--status", "https://b.example/@u/1"): 2,
        ("--account", "@u_b9@b.example"): 2,
        ("--account", "@alice"): 1,
    }.items():
        assert broken(several, *words) == number, words
    for words, said in {  # what selects nothing has seen nothing
        ("--domain", "nowhere.example"): "No record with a file is selected by nowhere.example",
        ("--account", "@nobody", "--account", "@alice"): "This server does not know @nobody",
        ("--account", "@alice", "avatars"): "No record with a file is selected by @alice",
        ("--domain", "example.social"): "is this server itself",
        ("--exclude", "example.social"): "is this server itself",
        ("--exclude", "files"): "'files' may be media_attachments/files or site_uploads/files",
        ("--exclude", "avatar"): "Did you mean avatars?",
        ("accounts", "--exclude", "accounts"): "leaves no kind",
    }.items():
        done = run(several.env, "check", *words)
        assert done.returncode == 2 and said in done.stderr, (words, done.stderr)


def test_a_repair_of_one_server_leaves_the_others_and_what_is_known_of_them(several: SimulatedInstance) -> None:
    first = run(several.env, "repair", "--apply", "--max-missing", "100%", "--json", "--local")
    assert json.loads(first.stdout)["outcomes"]["lost"] == 1
    words = ("repair", "--domain", "a.example", "--max-missing", "100%")
    plan = run(several.env, *words)
    assert "4 records broken" in plan.stdout and "repair --domain a.example --apply" in plan.stdout
    done = json.loads(run(several.env, *words, "--apply", "--json").stdout)
    assert done["outcomes"]["restored"] == 4 and broken(several) == 5
    found = json.loads(run(several.env, "check", "--json", "--max-missing", "100%").stdout)
    assert found["known"]["lost"] == 1, "the other server's repair has not looked at it: it is known still"
    few = ("repair", "--remote", "--limit", "1", "--apply", "--json", "--max-missing", "100%")
    limited = json.loads(run(several.env, *few).stdout)
    assert limited["records"] == 1 and limited["not_taken"] == 3 and limited["exit_code"] == 1
    refused = run(several.env, "repair", "--scan", "latest", "--domain", "a.example")
    assert refused.returncode == 2 and "--scan takes the findings of that check as they are" in refused.stderr


def test_cron_hears_of_new_damage_only(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance()
    origin = network.add("a.example")
    record(instance, damage="missing", name="alice")
    assert run(instance.env, "check", "--new", "--json", "--max-missing", "100%").returncode == 1
    run(instance.env, "repair", "--apply", "--max-missing", "100%")
    again = run(instance.env, "check", "--new", "--json", "--max-missing", "100%")
    assert (again.returncode, again.stderr) == (0, ""), "it is lost, and that is known"
    assert run(instance.env, "check", "--json", "--max-missing", "100%").returncode == 1
    silent = run(instance.env, "check", "--new", "-q", "--max-missing", "100%")
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", ""), "cron mails whatever is printed"
    record(instance, origin=origin, damage="missing")
    assert run(instance.env, "check", "--new", "--json", "--max-missing", "100%").returncode == 1
    told = run(instance.env, "check", "--new", "-q", "--max-missing", "100%")
    assert told.returncode == 1 and "1 new" in told.stdout


# --- show ---------------------------------------------------------------------------------------------------------------


def test_show_speaks_as_people_do(several: SimulatedInstance, network: Fediverse) -> None:
    network.origins["b.example"].files.clear()
    run(several.env, "check", "--max-missing", "100%")
    done = run(several.env, "show")
    lines = done.stdout.splitlines()
    assert lines[0] == "@alice (one of your own users)  accounts/headers (original)  missing"
    assert any("9 findings of scan" in line for line in lines) and "A text for them:" in done.stdout
    assert any(line.startswith("https://press.example/a  preview_cards/images") for line in lines)
    assert any(line.startswith("@u_b9@b.example  media_attachments/files (original)  missing") for line in lines)
    run(several.env, "repair", "--apply", "--max-missing", "100%")
    done = run(several.env, "show", "latest", "--outcome", "gone", "avatars")
    assert done.stdout.splitlines()[:3] == [
        "@u_b9@b.example  accounts/avatars  gone",
        "   its origin says that it is not there (404)",
        "   asked: origin",
    ]
    rows = json.loads(run(several.env, "show", "--json", "--local").stdout)["rows"]
    assert [(row["who"], row["outcome"], row["reason"]) for row in rows] == [("@alice", "lost", "local")]
    assert "only a backup may have it" in rows[0]["detail"]
    table = list(csv.DictReader(io.StringIO(run(several.env, "show", "--csv", "--domain", "a.example").stdout)))
    assert {row["outcome"] for row in table} == {"restored"} and len(table) == 4
    assert all(row["who"][0] in "':" for row in table), "no spreadsheet takes @ for a formula"
    scan = json.loads(run(several.env, "check", "--json", "--max-missing", "100%").stdout)["scan"]
    known = run(several.env, "show", "headers", scan[:20]).stdout
    assert "earlier: lost: a local file" in known
    assert "of scan" in run(several.env, "show", "--outcome", "lost").stdout, (
        "a check knows what became of its findings"
    )
    assert "of run" in run(several.env, "show", "--outcome", "restored").stdout, "what is mended is in runs alone"
    assert "of scan" in run(several.env, "show", "--outcome", "missing").stdout


def test_losses_are_named_and_what_can_be_done_is_said(several: SimulatedInstance, network: Fediverse) -> None:
    network.origins["b.example"].files.clear()
    limit = ("--max-missing", "100%")
    record(several, origin=network.origins["a.example"], damage="truncated", name="cut")
    check = run(several.env, "check", *limit).stdout
    assert "1 local record among them" in check and "\n  @alice  accounts/headers\n" in check
    shown = run(several.env, "show", "--account", "@cut@a.example").stdout
    assert "   50 bytes instead of" in shown and "1 finding of scan" in shown
    repair = run(several.env, "repair", "--apply", *limit).stdout
    assert repair.startswith("1 record of your own users is still broken:\n  @alice  accounts/headers\n")
    only = run(several.env, "show", "latest", "--account", "@alice", "headers").stdout
    assert "@alice (one of your own users)" in only and "1 outcome of run" in only
    assert "has lost the header of your profile. If you still have it" in only
    of_post = json.loads(run(several.env, "show", "--status", "https://b.example/@u/1", "--json").stdout)["rows"]
    assert {row["kind"] for row in of_post} == {"media_attachments/files", "preview_cards/images"}
    assert all(row["who"] for row in of_post)
    assert "later; a server that is gone for good becomes lost in the end" in {row["advice"] for row in of_post}
    rest = json.loads(run(several.env, "show", "--exclude", "a.example", "--exclude", "avatars", "--json").stdout)[
        "rows"
    ]
    assert rest and not {"a.example", "sub.a.example"} & {row["domain"] for row in rest}
    assert "accounts/avatars" not in {row["kind"] for row in rest}
    lost = run(several.env, "history", "--lost").stdout
    assert "1 file of your own users is lost." in lost and "\n@alice  accounts/headers" in lost
    assert "   a file of one of your own users: only a backup may have it; first seen 20" in lost
    undo = run(several.env, "undo", "latest").stdout
    assert "@cut@a.example): taken back" in undo
    for words, said in {
        ("nonsense",): "There is no kind 'nonsense'",
        ("2026", "2025"): "one scan or run can be shown",
    }.items():
        assert said in run(several.env, "show", *words).stderr


def test_show_without_the_database_shows_numbers(several: SimulatedInstance) -> None:
    run(several.env, "check", "--max-missing", "100%")
    several.env.write_text(several.env.read_text().replace("DB_HOST=", "DB_HOST=/nonexistent"))
    done = run(several.env, "show", "--limit", "2")
    assert done.returncode == 0 and "Without names, by number" in done.stderr
    assert "2 of them are shown" in done.stdout


# --- for machines -------------------------------------------------------------------------------------------------------


def test_quiet_and_json_leave_stderr_alone_and_the_log_file_hears(
    make_instance: MakeInstance, network: Fediverse
) -> None:
    instance = make_instance()
    record(instance, origin=network.add("a.example"), damage="missing")
    log = instance.folder / "log"
    words = ("repair", "--apply", "--max-missing", "100%", "--log-file", str(log))
    done = run(instance.env, *words, "-q")
    assert (done.returncode, done.stderr) == (0, "") and "1 of 1 record mended" in done.stdout
    written = log.read_text()
    assert "mastomend 0.1.0 repair" in written and "Requests are not signed" in written and "accounts: files" in written
    assert all(line[:4].isdecimal() and line[10] == "T" for line in written.splitlines())
    run(instance.env, "check", "--nonsense", "--log-file", str(log))
    assert "Error: No such option: --nonsense" in log.read_text().splitlines()[-1]
    told = run(instance.env, "check", "--json", "-v")
    assert "accounts: rows" in told.stderr and json.loads(told.stdout)["exit_code"] == 0


def test_a_sound_bucket_says_nothing_besides(make_instance: MakeInstance, network: Fediverse) -> None:
    instance = make_instance("4.5", "s3")
    record(instance, origin=network.add("a.example"))
    for words in (("check",), ("orphans",), ("usage",), ("repair",)):
        done = run(instance.env, *words, "--json")
        assert (done.returncode, done.stderr) == (0, ""), words


def test_usage_errors_are_json_too(make_instance: MakeInstance) -> None:
    instance = make_instance()
    for words in (
        ["check", "--nonsense", "--json"],
        ["undo", "--json"],
        ["check", "avatrs", "--json"],
        ["check", "--json", "--state"],
    ):
        done = run(instance.env, *words)
        found = json.loads(done.stdout)
        assert done.returncode == found["exit_code"] == 2 and found["command"] == words[0] and found["error"]


def test_numbers_for_prometheus(several: SimulatedInstance) -> None:
    folder = several.folder / "textfile"
    refused = run(several.env, "check", "--textfile", str(folder))
    assert refused.returncode == 2 and "is no directory" in refused.stderr
    folder.mkdir()
    (folder / "mastomend_check.prom").mkdir()
    refused = run(several.env, "check", "--textfile", str(folder))
    assert refused.returncode == 2 and "is no file" in refused.stderr and not refused.stdout, "before it looks"
    (folder / "mastomend_check.prom").rmdir()
    words = ("--max-missing", "100%", "--textfile", str(folder), "-q")
    run(several.env, "check", *words)
    found = (folder / "mastomend_check.prom").read_text()
    assert 'mastomend_broken_records{domain="example.social",kind="accounts/avatars"} 3\n' in found
    assert 'mastomend_broken_local_records{domain="example.social",kind="accounts/headers"} 1\n' in found
    new = re.findall(r'mastomend_new_records{domain="example.social",kind="([a-z_/]+)"} (\d+)\n', found)
    assert len(new) > 5 and sum(int(number) for _, number in new) == 9
    run(several.env, "repair", "-n", *words)
    assert not (folder / "mastomend_repair.prom").exists(), "nothing was repaired"
    run(several.env, "repair", "--apply", *words)
    done = (folder / "mastomend_repair.prom").read_text()
    assert 'mastomend_repair_records{domain="example.social",outcome="lost"} 1\n' in done
    run(several.env, "check", *words)
    assert (
        'mastomend_known_records{domain="example.social",kind="accounts/headers",outcome="lost"} 1'
        in (folder / "mastomend_check.prom").read_text()
    )
    metric = re.compile(r'^[a-z_]+\{(?:[a-z]+="[^"]*",?)+\} [0-9.]+$')
    for line in (found + done).splitlines():
        assert line.startswith("# ") or metric.match(line), line
    assert sorted(path.name for path in folder.iterdir()) == ["mastomend_check.prom", "mastomend_repair.prom"]


def test_history_tells_what_a_run_did(several: SimulatedInstance) -> None:
    done = json.loads(run(several.env, "repair", "--apply", "--max-missing", "100%", "--json").stdout)
    listed = run(several.env, "history", TZ="Asia/Tokyo", COLUMNS="80").stdout.splitlines()
    assert done["run"] in listed[0] and listed[0].endswith("finished") and max(map(len, listed)) <= 80
    told = run(several.env, "history", "latest").stdout
    assert "1 lost: a file of one of your own users: only a backup may have it" in told
    assert f"undo {done['run']}" in told and f"show {done['run']}" in told
    reasons = json.loads(run(several.env, "history", done["run"][:12], "--json").stdout)["reasons"]
    assert {"outcome": "lost", "reason": "local", "records": 1} in reasons


def test_a_repair_tells_what_came_so_far_and_whom_it_waits_for(make_instance: MakeInstance, network: Fediverse) -> None:
    class Statuses(Silent):
        def __init__(self) -> None:
            self.told: list[str] = []
            self.left: list[float] = []

        def status(self, text: str, left_s: float = 0.0) -> None:
            self.told.append(text)
            self.left.append(left_s)

    instance = make_instance()
    (instance.folder / "mastomend.toml").write_text("settle_seconds = 0\n[politeness]\nrate = 4\n")
    origin = network.add("slow.example")
    for _ in range(8):
        record(instance, origin=origin, damage="missing")
    watcher = Statuses()
    repair(opened(instance), RepairOptions(apply=True, max_missing_percent=100), watcher)
    assert re.fullmatch(r"\d restored; waiting for 127\.0\.0\.\d+ \(\d\)", watcher.told[1]), watcher.told
    waiting = int(watcher.told[1].rpartition("(")[2].rstrip(")"))
    assert watcher.left[1] >= waiting / 4 - 0.01, "the slowest server decides, however fast the others are"


def test_a_selection_does_not_hide_a_wrong_disk(make_instance: MakeInstance, network: Fediverse) -> None:
    """One account's two files say nothing; that none of the others is there does."""
    instance = make_instance()
    origin = network.add("a.example")
    for n in range(12):
        record(instance, origin=origin, damage="missing", name=f"u{n}")
    instance.media.write("cache/accounts/avatars/kept", b"x")
    done = run(instance.env, "repair", "--apply", "--account", "@u1@a.example")
    assert done.returncode == 4 and "Of 12 files of accounts/avatars taken at random 12 are missing" in done.stderr
    assert not network.requests
    asked = run(instance.env, "repair", "--apply", "--account", "@u1@a.example", "--max-missing", "100%")
    assert asked.returncode == 0 and len(network.requests) == 1


def test_undo_latest_is_not_undone_by_itself(several: SimulatedInstance) -> None:
    done = json.loads(run(several.env, "repair", "--apply", "--max-missing", "100%", "--json").stdout)
    assert f"undo {done['run']} --apply" in run(several.env, "undo", "latest").stdout
    assert json.loads(run(several.env, "undo", "latest", "--apply", "--json").stdout)["undoes"] == done["run"]
    again = run(several.env, "undo", "latest", "--apply")
    assert again.returncode == 2 and "was taken back already" in again.stderr


def test_strangers_addresses_never_reach_the_terminal_as_commands() -> None:
    fine = "https://a.example/@u/1?x=%20"
    evil = (
        "https://a/\x07\x1b]0;x",
        "https://a/[x]",
        "javascript:x",
        "https://a/\u202e",
        "https://a/ x",
        'https://a/"',
    )
    assert _LINKABLE.fullmatch(fine) and not any(_LINKABLE.fullmatch(one) for one in evil)
    assert _cell("a\x1b[31m\nb") == "a [31m b" and _cell("=1+1") == "'=1+1"


def test_a_scan_that_saw_nothing_is_not_what_latest_means(several: SimulatedInstance) -> None:
    run(several.env, "check", "--max-missing", "100%")
    assert run(several.env, "check", "--account", "@nobody@a.example").returncode == 2
    plan = run(several.env, "repair", "--scan", "latest", "--max-missing", "100%")
    assert "9 records broken" in plan.stdout
    run(several.env, "check", "site_uploads", "--max-missing", "100%")  # sound, and the latest by now
    refused = run(several.env, "repair", "--scan", "latest", "--max-missing", "100%")
    assert refused.returncode == 2 and "found nothing, but 9 records are broken now" in refused.stderr


def test_units_for_this_server(make_instance: MakeInstance, tmp_path: Path) -> None:
    instance = make_instance()
    folder = tmp_path / "a folder %n"
    words = ("systemd", "--folder", str(folder), "--user", "root")
    assert "is no directory" in run(instance.env, *words, "--apply").stderr
    folder.mkdir()
    shown = run(instance.env, *words)
    assert shown.returncode == 0 and not list(folder.iterdir()) and "Nothing was written. Next: sudo " in shown.stdout
    (folder / "mastomend-check.timer").write_text("[Timer]\nOnCalendar=daily\n")
    done = run(instance.env, *words, "--apply")
    assert done.returncode == 1 and "mastomend-check.timer was not made by this command" in done.stdout
    assert (folder / "mastomend-check.timer").read_text() == "[Timer]\nOnCalendar=daily\n"
    (folder / "mastomend-check.timer").unlink()
    assert run(instance.env, *words, "--apply").stdout.count("unchanged: ") == 2 * len(JOBS) - 1
    units = json.loads(run(instance.env, *words, "--json").stdout)["units"]
    assert [unit["became"] for unit in units] == ["unchanged"] * 2 * len(JOBS)
    service = (folder / "mastomend-check.service").read_text()
    assert f" --env {instance.env} --state {instance.state} check --new -q\n" in service
    assert f"ReadWritePaths=-{instance.folder}/public/system\n" in service
    assert f"ReadWritePaths=-{instance.state}\n" in service and "StateDirectory" not in service
    assert "SuccessExitStatus=1\n" in (folder / "mastomend-deferred.service").read_text()
    if shutil.which("systemd-analyze"):
        files = [str(path) for path in folder.iterdir()]
        done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
        assert [line for line in done.stderr.splitlines() if "mastomend" in line and "not executable" not in line] == []
    refused = run(instance.env, *words, "--apply", DB_USER="other")
    assert refused.returncode == 2 and "DB_USER in this process's environment" in refused.stderr
    odd = instance.folder / "a b%$.env"
    odd.write_text(instance.env.read_text())
    shown = run(odd, *words)
    assert '"' + str(odd).replace("%", "%%").replace("$", "$$") + '" --state' in shown.stdout


def test_the_settings_of_a_process_are_not_those_of_a_timer(make_instance: MakeInstance) -> None:
    instance = make_instance()
    own = dict(line.split("=", 1) for line in instance.env.read_text().splitlines() if "=" in line and line[0] != "#")
    done = tool("systemd", cwd=instance.folder.parent, **own)
    assert done.returncode == 2 and "in this process's environment only" in done.stderr
