"""`.env.production` in dotenv's own grammar: golden cases for every rule of facts §4.1."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mastomend.errors import ConfigurationError
from mastomend.mastodon.environment import Dialect, merge, parse

GOLDEN = {
    "A=b": {"A": "b"},
    "A = b ": {"A": "b"},
    "A: b": {"A": "b"},
    "export A=b": {"A": "b"},
    "  A=b": {"A": "b"},
    "A=": {"A": ""},
    "A": {"A": ""},
    "A=b\nA=c": {"A": "c"},
    "A=b\r\nB=c\rC=d": {"A": "b", "B": "c", "C": "d"},
    "\ufeffA=b": {"A": "b"},
    "# only a comment\n\nA=b": {"A": "b"},
    "DB_PASS=abc#def": {"DB_PASS": "abc"},
    "A=b # comment": {"A": "b"},
    "A=b c d": {"A": "b c d"},
    "A='b # c'": {"A": "b # c"},
    'A="b # c" # d': {"A": "b # c"},
    'A="b" c': {"A": '"b" c'},
    "A='b\\'c'": {"A": "b\\'c"},
    'A="b\\"c"': {"A": 'b"c'},
    'A="line one\nline two"\nB=c': {"A": "line one\nline two", "B": "c"},
    "A='line one\nline two'": {"A": "line one\nline two"},
    'A="b\\nc"': {"A": "b\\nc"},
    'DOTENV_LINEBREAK_MODE=legacy\nA="b\\nc"': {"DOTENV_LINEBREAK_MODE": "legacy", "A": "b\nc"},
    "A=b\\ c": {"A": "b c"},
    "A=b\nB=$A": {"A": "b", "B": "b"},
    "A=b\nB=${A}c": {"A": "b", "B": "bc"},
    "A=b\nB=${a}": {"A": "b", "B": ""},
    "A=pa$(ss": {"A": "pa$(ss"},
    "A=a$()b": {"A": "a$()b"},
    "A=\u00a0b\u2003": {"A": "\u00a0b\u2003"},
    'A=b\nB="x $A y"': {"A": "b", "B": "x b y"},
    "A=b\nB='$A'": {"A": "b", "B": "$A"},
    "B=$MISSING.": {"B": "."},
    "A=b\nB=\\$A": {"A": "b", "B": "$A"},
    "A=b\nB=$$A": {"A": "b", "B": "$b"},
    "B=$OUTSIDE": {"B": "outer"},
    "PRESET=file": {"PRESET": "process"},
    "A=b\nexport A": {"A": "b"},
    "a.b=c": {"a.b": "c"},
    "A='$(rm -rf /)'": {"A": "$(rm -rf /)"},
    "A=\\$(x)": {"A": "$(x)"},
}


@pytest.mark.parametrize(("text", "expected"), GOLDEN.items())
def test_golden(text: str, expected: dict[str, str]) -> None:
    assert parse(text, file_name=".env", environment={"OUTSIDE": "outer", "PRESET": "process"}) == expected


CASES = json.loads((Path(__file__).parents[1] / "cases/dotenv.json").read_text())


@pytest.mark.parametrize("version", ["2.8.1", "3.1.4", "3.2.0"])
def test_what_dotenv_s_own_parser_answered(version: str) -> None:
    """200 inputs with the answers of three versions of the real parser; `ERR`: it refuses the file."""
    dialect = Dialect.from_gemfile_lock(f"GEM\n  specs:\n    dotenv ({version})\n")
    for case in CASES:
        try:
            found: object = parse(case["text"], file_name=".env", environment=case["environment"], dialect=dialect)
        except ConfigurationError:
            found = "ERR"
        assert found == case[version], case


@pytest.mark.parametrize(
    ("lock", "version"),
    [("    dotenv (3.1.4)", (3, 1, 4)), ("    dotenv (3.1.10)", (3, 1, 10)), ("    dotenv-rails (2.1)", (3, 2, 0))],
)
def test_the_dialect_is_that_of_the_exact_version(lock: str, version: tuple[int, ...]) -> None:
    assert Dialect.from_gemfile_lock(f"GEM\n  specs:\n{lock}\n").version == version
    assert Dialect((3, 1, 4)).takes_bare_keys is False and Dialect((3, 1, 5)).takes_bare_keys is True


@pytest.mark.parametrize("version", [(2, 8, 1), (3, 1, 4), (3, 2, 0)])
def test_the_process_wins_in_every_dialect(version: tuple[int, ...]) -> None:
    found = merge({".env.production": "A=file\nB=$A"}, {"A": "process"}, dialect=Dialect(version))
    assert found == {"A": "process", "B": "process"}


def test_dotenv_2_differs_in_two_rules() -> None:
    old = Dialect((2, 8, 1))
    assert parse('A\nB="x\\ny"', file_name=".env", dialect=old) == {"B": "x\ny"}


@pytest.mark.parametrize(
    "text", ["A=1\nB=$(id)", 'B="x $(touch /tmp/x) y"', "B=${A}$(id)", "B=$(a (b) c)", "A='$(id)'\nB=$A"]
)
def test_a_command_is_refused_and_never_run(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"B contains \$\(…\)") as caught:
        parse(text, file_name="/srv/.env.production")
    assert "/srv/.env.production, line" in caught.value.message


def test_a_command_of_a_variable_the_process_sets_does_not_matter() -> None:
    assert parse("B=$(id)", file_name=".env", environment={"B": "set"}) == {"B": "set"}


def test_export_without_value_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        parse("A=1\nexport B", file_name=".env")


def test_precedence_of_files_and_process() -> None:
    files = {
        ".env": "A=env\nB=env\nC=env\nD=env",
        ".env.production": "A=production\nB=production\nC=production",
        ".env.local": "A=local\nB=local",
        ".env.production.local": "A=first\nP=file",
    }
    assert merge(files, {"P": "process"}) == {"P": "process", "A": "first", "B": "local", "C": "production", "D": "env"}


def test_thousands_of_commands_that_do_not_close_take_no_time() -> None:
    began = time.process_time()
    with pytest.raises(ConfigurationError, match="would run as a command"):
        merge({".env.production": f'A="{"$(" * 20_000}"\n'}, {}, dialect=Dialect(), folder="/")
    assert time.process_time() - began < 5
