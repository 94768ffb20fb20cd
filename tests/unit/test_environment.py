"""`.env.production` in dotenv's own grammar: golden cases for every rule of facts §4.1."""

from __future__ import annotations

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
    "A=b\nB=${a}": {"A": "b", "B": "b"},
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


def test_dotenv_2_differs_in_two_rules() -> None:
    old = Dialect.from_gemfile_lock("GEM\n  specs:\n    dotenv (2.8.1)\n")
    assert old == Dialect(2)
    assert parse('A\nB="x\\ny"', file_name=".env", dialect=old) == {"B": "x\ny"}


@pytest.mark.parametrize("text", ["A=1\nB=$(id)", 'B="x $(touch /tmp/x) y"', "B=${A}$(id)"])
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
