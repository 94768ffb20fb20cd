"""The words of a command line, before typer sees them: global options may stand on either side of the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: Global options that take a value, and those that do not.
VALUED = frozenset({"--env", "--state", "--log-file"})
FLAGS = frozenset({"-q", "--quiet", "-v", "--verbose", "--version"})


def in_order(words: Sequence[str]) -> list[str]:
    """Global options first; whatever stands behind `--` stays as it is."""
    front: list[str] = []
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif is_global(word):
            front += [word, *_value(word, left)]
        elif word == "--deep":  # typer has no options with an optional value: alone it means all of it
            rest.append("--deep=100%")
        else:
            rest.append(word)
    return [*front, *rest]


def is_global(word: str) -> bool:
    """Whether that is a global option."""
    return word in FLAGS or word.partition("=")[0] in VALUED


def _value(word: str, left: Iterator[str]) -> list[str]:
    value = next(left, None) if word in VALUED else None
    return [] if value is None else [value]
