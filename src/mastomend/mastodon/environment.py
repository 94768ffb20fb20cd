"""`.env.production` as Mastodon reads it: dotenv's own grammar, its files and their precedence (facts §4.1).

Mastodon's Ruby library has rules a general parser gets wrong: an unquoted `#` ends a value even without a space,
`KEY: value` is allowed, text after a closing quote makes the whole value unquoted, and `$(command)` is *executed*.
Mastomend follows the first three and refuses the last one: nothing in a settings file is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mastomend.errors import ConfigurationError

#: First hit wins per variable; the process environment stands above all of them.
FILES_BY_PRECEDENCE = (".env.production.local", ".env.local", ".env.production", ".env")

_VALUE = r"""\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|[^\#\n]+"""
_START = r"^\s*(?P<export>export\s+)?(?P<key>[A-Za-z0-9_.]+)"
_SEPARATED = rf"(?:\s*=\s*?|:\s+?)(?P<value>{_VALUE})?"
_FLAGS = re.MULTILINE | re.ASCII  # blanks are ASCII ones: others belong to the value
_LINE = re.compile(rf"{_START}(?:{_SEPARATED})?[^\S\n]*(?:\#.*)?$", _FLAGS)
_OLD_LINE = re.compile(rf"{_START}{_SEPARATED}\s*(?:\#.*)?$", _FLAGS)
_QUOTED = re.compile(r"\A(['\"])(.*)\1\Z", re.DOTALL)
_ESCAPED = re.compile(r"\\([^$])", re.DOTALL)
_VARIABLE = re.compile(r"(?P<escape>\\)?\$(?!\()(?P<brace>\{)?(?P<name>[A-Za-z0-9_]+)?\}?", re.ASCII)
_LINEBREAK_MODE = "DOTENV_LINEBREAK_MODE"
#: So many `$(` in one value are looked at; more are no value.
_COMMANDS = 100
_BLANKS = " \t\n\v\f\r\0"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which dotenv the server runs: 2.8 (Mastodon 4.2), 3.1.4 (4.3), 3.1.5 and later (4.4 and newer)."""

    version: tuple[int, ...] = (3, 2, 0)

    @staticmethod
    def from_gemfile_lock(text: str) -> Dialect:
        """The dialect named by Mastodon's own `Gemfile.lock`; the newest when it does not say."""
        match = re.search(r"^    dotenv \((\d+(?:\.\d+)*)", text, re.MULTILINE)
        return Dialect(tuple(map(int, match[1].split(".")))) if match else Dialect()

    @property
    def takes_bare_keys(self) -> bool:
        """A line that is only a name sets it to '', and `export NAME=` names a variable rather than setting it."""
        return self.version >= (3, 1, 5)

    @property
    def expands_newlines(self) -> bool:
        """In double quotes, `\\n` is a newline."""
        return self.version < (3,)

    @property
    def looks_at_process_first(self) -> bool:
        """What the process sets already is not parsed. 3.0 to 3.1.4 parsed it, and then did not use it."""
        return not (3,) <= self.version < (3, 1, 5)


def parse(
    text: str, *, file_name: str, environment: Mapping[str, str] | None = None, dialect: Dialect | None = None
) -> dict[str, str]:
    """The variables one file sets.

    A variable already in `environment` has the environment's value, but for one dialect (see there): `merge` settles that.

    Raises:
        ConfigurationError: a value contains `$(command)`, or `export KEY` names a variable that has no value.
    """
    environment = environment or {}
    dialect = dialect or Dialect()
    values: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = _LINE if dialect.takes_bare_keys else _OLD_LINE
    for match in lines.finditer(text):
        key, value = match["key"], match["value"]
        where = f"{file_name}, line {text.count(chr(10), 0, match.start('key')) + 1}"
        if key in environment and dialect.looks_at_process_first:
            values[key] = environment[key]
        elif value is None and match["export"] and dialect.takes_bare_keys:
            if key not in values:
                raise _unset(where, key)
        else:
            values[key] = _value(value or "", values, environment, dialect, f"{where}: {key}")
    if not dialect.takes_bare_keys:
        _check_exports(lines.sub("", text), values, file_name)
    return values


def _unset(where: str, name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: `export {name}` names a variable that has no value.", hint=f"Write `{name}=…` instead."
    )


def _check_exports(rest: str, values: Mapping[str, str], file_name: str) -> None:
    """Of the lines that set nothing, those that export must name variables which were set."""
    for line in rest.split("\n"):
        first, *names = re.split(r"[\s\0]+", line.strip(_BLANKS), flags=re.ASCII)
        for name in names if first == "export" else ():
            if name not in values:
                raise _unset(file_name, name)


def _value(raw: str, values: Mapping[str, str], environment: Mapping[str, str], dialect: Dialect, where: str) -> str:
    value, quote = raw.strip(_BLANKS), None
    if match := _QUOTED.match(value):
        quote, value = match[1], match[2]
    if quote == "'":
        return value
    if quote == '"':
        mode = values.get(_LINEBREAK_MODE, environment.get(_LINEBREAK_MODE))
        if dialect.expands_newlines or mode == "legacy":
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        else:  # the two characters survive the unescaping below
            value = value.replace("\\n", "\\\\n").replace("\\r", "\\\\r")
    value = _ESCAPED.sub(r"\1", value)
    value = _VARIABLE.sub(lambda match: _substitute(match, values, environment), value)
    return _without_commands(value, where)


def _substitute(match: re.Match[str], values: Mapping[str, str], environment: Mapping[str, str]) -> str:
    if match["escape"]:
        return match[0][1:]
    name = match["name"]
    if name is None:
        return match[0]
    return environment.get(name, values.get(name, ""))  # names are case-sensitive


def _without_commands(value: str, where: str) -> str:
    """The value, if nothing in it would be run: `$(` counts where its parentheses close and hold something.

    Raises:
        ConfigurationError: it does.
    """
    start, tries = 0, 0
    while (start := value.find("$(", start)) >= 0:
        tries += 1
        end = _closing(value, start + 1) if tries <= _COMMANDS else start
        if end is None:
            start += 2
        elif tries <= _COMMANDS and start and value[start - 1] == "\\":
            value = value[: start - 1] + value[start:]
            start = end
        else:
            raise ConfigurationError(
                f"{where} contains $(…), which Mastodon would run as a command. "
                "Mastomend never runs commands from settings.",
                hint="Put the value itself there, or set the variable in the environment of this process.",
            )
    return value


def _closing(text: str, opening: int) -> int | None:
    """Where the parenthesis that opens there closes; None if it does not, or if some pair in it is empty."""
    open_at: list[int] = []
    for i in range(opening, len(text)):
        if text[i] == "(":
            open_at.append(i)
        elif text[i] == ")":
            if i == open_at.pop() + 1:
                return None
            if not open_at:
                return i
    return None


def merge(
    files: Mapping[str, str], process: Mapping[str, str], *, dialect: Dialect | None = None, folder: str = ""
) -> dict[str, str]:
    """What Mastodon would see: the process's variables over the files in order of precedence.

    `files` maps a name of `FILES_BY_PRECEDENCE` (or the one file that was named) to its text.
    """
    ordered = sorted(
        files, key=lambda n: FILES_BY_PRECEDENCE.index(n) if n in FILES_BY_PRECEDENCE else len(FILES_BY_PRECEDENCE)
    )
    merged = dict(process)
    for name in ordered:
        merged = parse(files[name], file_name=f"{folder}{name}", environment=merged, dialect=dialect) | merged
    return merged
