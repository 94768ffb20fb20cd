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

_LINE = re.compile(
    r"""^\s*(?P<export>export\s+)?(?P<key>[A-Za-z0-9_.]+)
        (?:(?:\s*=\s*?|:\s+?)
           (?P<value>\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|[^\#\n]+)?
        )?
        [^\S\n]*(?:\#.*)?$""",
    re.MULTILINE | re.VERBOSE,
)
_QUOTED = re.compile(r"\A(['\"])(.*)\1\Z", re.DOTALL)
_ESCAPED = re.compile(r"\\([^$])", re.DOTALL)
_VARIABLE = re.compile(r"(?P<escape>\\)?\$(?!\()(?P<brace>\{)?(?P<name>[A-Za-z0-9_]+)?\}?")
_COMMAND = re.compile(r"(?<!\\)\$\(")
_LINEBREAK_MODE = "DOTENV_LINEBREAK_MODE"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which dotenv the server runs: 2 (Mastodon 4.2) or 3 (4.3 and newer). They differ in two rules."""

    major: int = 3

    @staticmethod
    def from_gemfile_lock(text: str) -> Dialect:
        """The dialect named by Mastodon's own `Gemfile.lock`; 3 when it does not say."""
        match = re.search(r"^    dotenv \((\d+)\.", text, re.MULTILINE)
        return Dialect(int(match[1])) if match else Dialect()


def parse(
    text: str, *, file_name: str, environment: Mapping[str, str] | None = None, dialect: Dialect | None = None
) -> dict[str, str]:
    """The variables one file sets. A variable already in `environment` keeps the environment's value.

    Raises:
        ConfigurationError: a value contains `$(command)`, or `export KEY` names a variable that has no value.
    """
    environment = environment or {}
    dialect = dialect or Dialect()
    values: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for match in _LINE.finditer(text):
        key, value = match["key"], match["value"]
        where = f"{file_name}, line {text.count(chr(10), 0, match.start('key')) + 1}"
        if key in environment:
            values[key] = environment[key]
        elif value is None and match["export"]:
            if key not in values:
                raise ConfigurationError(
                    f"{where}: `export {key}` names a variable that has no value.", hint=f"Write `{key}=…` instead."
                )
        elif value is None and "=" not in match[0] and ":" not in match[0]:
            if dialect.major >= 3:
                values[key] = ""
        else:
            values[key] = _value(value or "", values, environment, dialect, f"{where}: {key}")
    return values


def _value(raw: str, values: Mapping[str, str], environment: Mapping[str, str], dialect: Dialect, where: str) -> str:
    value, quote = raw.strip(), None
    if match := _QUOTED.match(value):
        quote, value = match[1], match[2]
    if quote == "'":
        return value
    if _COMMAND.search(value):
        raise ConfigurationError(
            f"{where} contains $(…), which Mastodon would run as a command. Mastomend never runs commands from settings.",
            hint="Put the value itself there, or set the variable in the environment of this process.",
        )
    if quote == '"':
        mode = values.get(_LINEBREAK_MODE, environment.get(_LINEBREAK_MODE))
        if dialect.major < 3 or mode == "legacy":
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        else:  # the two characters survive the unescaping below
            value = value.replace("\\n", "\\\\n").replace("\\r", "\\\\r")
    value = _ESCAPED.sub(r"\1", value)
    value = _VARIABLE.sub(lambda match: _substitute(match, values, environment), value)
    return value.replace("\\$(", "$(")


def _substitute(match: re.Match[str], values: Mapping[str, str], environment: Mapping[str, str]) -> str:
    if match["escape"]:
        return match[0][1:]
    name = match["name"]
    if name is None:
        return match[0]
    for variables in (values, environment):
        if name in variables:
            return variables[name]
    folded = name.casefold()
    for variables in (values, environment):
        for candidate, value in variables.items():
            if candidate.casefold() == folded:
                return value
    return ""


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
        merged |= parse(files[name], file_name=f"{folder}{name}", environment=merged, dialect=dialect)
    return merged
