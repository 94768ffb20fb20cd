"""Documentation is part of the change: what exists is documented, what is documented exists."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from mastomend.actions.deferral import Deferral
from mastomend.actions.ledger import Entry
from mastomend.cli.app import app
from mastomend.cli.check import document as check_document
from mastomend.cli.cleanup import document as cleanup_document
from mastomend.cli.doctor import document as doctor_document
from mastomend.cli.guard import document as guard_document
from mastomend.cli.history import document as history_document
from mastomend.cli.history import lost_document, undo_document
from mastomend.cli.manual import page as manual_page
from mastomend.cli.migrate import document as migrate_document
from mastomend.cli.orphans import document as orphans_document
from mastomend.cli.prune import document as prune_document
from mastomend.cli.repair import document as repair_document
from mastomend.cli.show import document as show_document
from mastomend.cli.usage import document as usage_document
from mastomend.commands.check_report import CheckReport, KindReport, PublicReport
from mastomend.commands.cleanup import CleanupReport
from mastomend.commands.costs import Cost
from mastomend.commands.doctor_report import DoctorReport
from mastomend.commands.guard_report import GuardReport
from mastomend.commands.history import PastRun
from mastomend.commands.migrate_report import Estimate, MigrateReport, Step
from mastomend.commands.orphans_report import OrphansReport
from mastomend.commands.prune_report import PruneReport
from mastomend.commands.repair_report import RepairReport
from mastomend.commands.shown import Shown
from mastomend.commands.undo_report import UndoReport
from mastomend.commands.usage_report import Disk, Growth, UsageReport
from mastomend.inventory.crossing import Sides
from mastomend.inventory.evictions import Group, Kept, Sum
from mastomend.inventory.keeping import Policy, default_terms
from mastomend.inventory.strays import Sighted
from mastomend.inventory.usage import Amount, Counted
from mastomend.mastodon.versions import Version
from mastomend.outcomes import OF_RECORDS, Outcome, OutcomeRow
from mastomend.reasons import Reason
from mastomend.remote.admission import Politeness
from mastomend.vocabulary import Finding, Stray

ROOT = Path(__file__).parents[2]
SHOWN = Shown("k", 1, "", "", False, None, "", None, "", "", "", "", "", None, None)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    assert f"`{name}" in text("README.md")
    section = text("docs/reference/commands.md").split(f"\n## {name}\n")[1].split("\n## ")[0]
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                assert f"`{option}" in section, option
    assert "Examples" in (COMMANDS[name].epilog or ""), "help has examples"


def test_every_documented_command_exists() -> None:
    assert set(re.findall(r"^## (.+)$", text("docs/reference/commands.md"), re.MULTILINE)) == {
        "Global options",
        *COMMANDS,
    }


def test_every_exit_code_is_documented() -> None:
    for name in ("README.md", "docs/reference/commands.md"):
        for code in ("0", "1", "2", "3", "4", "70", "130"):
            assert re.search(rf"\b{code}\b", text(name).split("Exit codes")[1]), (name, code)


def test_every_setting_is_documented() -> None:
    reference = text("docs/reference/settings.md")
    names = {"memory", "settle_seconds", "statement_timeout_seconds", "max_missing"} | {
        f"politeness.{f.name}" for f in fields(Politeness)
    }
    names |= {f"deferred.{f.name}" for f in fields(Deferral)} | {"prune", "guard.disk", "guard.bill", "guard.warn_days"}
    assert set(re.findall(r"^\| `([a-z_.]+)`", reference, re.MULTILINE)) == names
    for f in fields(Politeness):
        assert f"| `politeness.{f.name}` | {f.default} |" in reference
    for f in fields(Deferral):
        assert f"| `deferred.{f.name}` | {f.default} |" in reference


def test_every_relationship_is_documented() -> None:
    section = text("docs/reference/commands.md").split("\n**Relationships.** ")[1].split("\n## ")[0]
    assert set(default_terms()) <= set(re.findall(r"`([a-z_]+)`", section))


def section(name: str) -> str:
    return text("docs/json.md").split(f"\n## {name}\n")[1].split("\n## ")[0]


def test_every_json_field_is_documented() -> None:
    from collections import Counter
    from datetime import UTC, datetime

    from mastomend.actions.journal import JournaledRun
    from mastomend.storage.ports import Requests

    version = Version("4.5", "1")
    report = CheckReport("s", datetime.now(UTC), "d", version, "file:///", [KindReport("k")], Requests(), Path("f"))
    report.cost = Cost(1, None)
    report.take_public(PublicReport(1, {}, {}))
    check = check_document(report)
    run = JournaledRun("r", "repair", "all", None, "t", None, {}, None)
    now = datetime.now(UTC)
    entry = Entry("k", 1, False, None, None, Outcome.LOST, "r", "d", 1, now, now, None, None)
    counted = UsageReport("s", now, "d", "file:///", Amount(), [Counted("k", Amount(), Amount(), Amount(), 0)])
    counted.domains, counted.accounts = [("d", Amount())], [("@a", 1, Amount())]
    counted.ages, counted.styles = [(1, Amount())], [("k", "original", Amount())]
    counted.difference = {"derived": 0, "missing": 0, "other_sizes": 0}
    counted.growth, counted.disk = Growth(now, 1.0), Disk(1, 1, None)
    usage = usage_document(counted)
    judged = PruneReport("r", True, "s", Policy(), ("headers",), {"headers": (Sum(), Sum(), Sum())})
    judged.ages, judged.groups = [Kept(1, Sum(), Sum())], [Group("headers", "stranger", 1, 2, Sum(), Sum())]
    pruned = prune_document(judged)
    guarded = guard_document(GuardReport(True, 1, 1))
    moving = MigrateReport(Step.PLAN, "r", False, "s", "a", "b", False, {"accounts/avatars": Sides()})
    moving.estimate = Estimate(1, None, None, None, None)
    moved = migrate_document(moving)
    looked = DoctorReport("d")
    looked.good("a", "b", "c")
    doctored = doctor_document(looked)
    documents = {
        "check": [
            check,
            check["instance"],
            check["kinds"][0],
            check["kinds"][0]["files"],
            check["totals"],
            check["cost"],
            check["public"],
        ],
        "repair": [
            repair_document(RepairReport("r", True, "s")),
            repair_document(RepairReport("r", True, "s"))["outcomes"],
        ],
        "history": [
            history_document(PastRun(run, Counter(), 0, 0, 0)),
            {
                name: 0
                for name in history_document(PastRun(run, Counter(), 0, 0, 0))["outcomes"]
                if name not in OF_RECORDS
            },
            lost_document(entry),
        ],
        "undo": [undo_document(UndoReport("u", "r", "repair", True))],
        "show": [{"command": 0, "of": 0, "total": 0, "rows": 0}, show_document(SHOWN)],
        "usage": [
            usage,
            *(usage[name][0] for name in ("kinds", "domains", "accounts", "ages", "styles")),
            *(usage[name] for name in ("totals", "difference", "cost", "growth", "disk")),
        ],
        "orphans": [
            orphans_document(OrphansReport("r", True, "s", Path("p"), False, {Stray.ORPHAN: Sighted()})),
            orphans_document(OrphansReport("r", True, "s", Path("p"), False, {Stray.ORPHAN: Sighted()}))["sorts"][
                "orphan"
            ],
        ],
        "prune": [pruned, pruned["cached"], pruned["by_kind"]["headers"], pruned["ages"][0], pruned["groups"][0]],
        "guard": [guarded, guarded["disk"]],
        "migrate": [
            moved,
            moved["kinds"][0],
            moved["estimate"],
            moved["to_copy"],
            {"key": 0, "why": 0},
            {"name": 0, "works": 0},
        ],
        "doctor": [doctored, doctored["lines"][0]],
        "cleanup": [
            cleanup_document(CleanupReport("c", True)),
            cleanup_document(CleanupReport("c", True))["quarantine"],
            cleanup_document(CleanupReport("c", True))["kept"],
        ],
    }
    documents["systemd"] = [{"command": 0, "applied": 0, "units": 0}, {"path": 0, "became": 0, "text": 0}]
    with_json = {name for name, command in COMMANDS.items() if any("--json" in p.opts for p in command.params)}
    assert set(documents) == with_json, "a command's JSON belongs into this test and into docs/json.md"
    for name, found in documents.items():
        words = set(re.findall(r"[a-z_]+", section(name)))
        for document in found:
            assert set(document) <= words, (name, set(document) - words)
    assert {f.name for f in fields(Finding)} <= set(re.findall(r"[a-z_]+", section("check")))
    assert {f.name for f in fields(OutcomeRow)} <= set(re.findall(r"[a-z_]+", section("repair")))


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_reason_is_explained() -> None:
    page = text("docs/how-to/reasons.md")
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == [r.value for r in Reason]
    assert [r for r in Reason if f"| `{r.value}` | {r.words} | " not in page] == []


def test_every_advice_is_in_the_table() -> None:
    rows = [line.split(" | ") for line in text("docs/how-to/reasons.md").splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): re.sub(r"\[([^]]+)\]\([^)]+\)|`", r"\1", row[2].removesuffix(" |")) for row in rows}
    assert {r.value: r.advice for r in Reason if r.advice} == {
        name: advice for name, advice in told.items() if not re.match("nothing(:|$)", advice)
    }


def test_the_manual_page_is_that_of_the_commands() -> None:
    made = manual_page(typer.main.get_command(app))
    assert text("docs/man/mastomend.1") == made, "python -m mastomend.cli.manual > docs/man/mastomend.1"
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"], input=made, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""


def test_the_wheel_holds_what_an_admin_needs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("how-to/docker.md", "reference/commands.md", "json.md"):
        assert any(one.endswith(f"share/doc/mastomend/docs/{name}") for one in names), name
    for name in ("share/man/man1/mastomend.1", "container/Containerfile", "mastomend/units/service", "CHANGELOG.md"):
        assert any(one.endswith(name) for one in names), name
    assert not any(one.endswith(".py") and "share/doc" in one for one in names)
    assert not any("/tests/" in one or one.endswith(".pyc") for one in names)


def test_the_container_is_built_as_it_should_be() -> None:
    """Its rules are looked at everywhere; where a builder is at hand, it is built as well (below)."""
    lines = text("deploy/container/Containerfile").splitlines()
    instructions = [line.split()[0] for line in lines if re.match("[A-Z]+ ", line)]
    assert instructions[0] == "FROM" and instructions[-2:] == ["ENTRYPOINT", "CMD"]
    assert re.search(r"^FROM \S+:\d[\w.-]+$", text("deploy/container/Containerfile"), re.MULTILINE)
    assert instructions.index("USER") < instructions.index("ENTRYPOINT"), "it does not run as root"
    assert "VOLUME /var/lib/mastomend" in lines, "what undo needs outlives the container"
    compose = text("deploy/container/docker-compose.override.yml")
    assert "mastomend:/var/lib/mastomend" in compose and "env_file: .env.production" in compose


def builder() -> list[str] | None:
    """docker with a daemon, podman or buildah."""
    alone = ["--isolation=chroot", "--network=host"]  # needs no runtime, which may not work within a container
    for name, words in (("docker", ["build"]), ("podman", ["build", *alone]), ("buildah", ["bud", *alone])):
        if (
            shutil.which(name)
            and subprocess.run([name, "info"], capture_output=True, check=False, timeout=60).returncode == 0
        ):
            return [name, *words]
    return None


@pytest.mark.skipif(builder() is None, reason="a builder of containers")
def test_the_container_can_be_built(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.copy(ROOT / "deploy/container/Containerfile", tmp_path)
    named = ["--build-arg", f"SOURCE=/context/{wheel.name}", "-f", "Containerfile", "-t", "mastomend-test", "."]
    build = [*(builder() or []), *named]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode and re.search(r"pull|lookup|dial tcp|resolve", done.stderr):
        pytest.skip("a registry of container images")
    assert done.returncode == 0, done.stderr[-2000:]


def _labels(lines: list[str]) -> list[str]:
    """What stands before a colon, of lines that begin so."""
    return [found[0] for line in lines if (found := re.match(r"[A-Z][a-z ,]+(?=:)", line))]


def test_the_picture_shows_what_is_printed_today() -> None:
    """`deploy/terminal_picture.py` makes it anew."""
    texts = re.findall(
        r'<text [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)', (ROOT / "docs/terminal.svg").read_text("utf-8")
    )
    rows: dict[float, str] = {}
    for _, y, said in sorted(texts, key=lambda one: (float(one[1]), float(one[0]))):
        rows[float(y)] = rows.get(float(y), "") + html.unescape(said).replace("\xa0", " ")
    screens = [(ROOT / f"tests/golden/screens/{name}-80.txt").read_text("utf-8") for name in ("check", "repair")]
    printed = _labels([line for screen in screens for line in screen.splitlines()])
    shown = _labels(list(rows.values()))
    assert {"What it is", "Next", "To take this back", "What stays broken, and why"} <= set(shown)
    assert shown == [label for label in printed if label in shown]
