"""The words of a command line, before typer sees them: global options may stand on either side of the command."""

from __future__ import annotations

from collections.abc import Sequence

#: Global options that take a value, and those that do not.
VALUED = frozenset({"--env", "--state", "--log-file"})
FLAGS = frozenset({"-q", "--quiet", "-v", "--verbose", "--version"})
#: Options whose value may be left out, and what they then mean.
ALONE = {"--deep": "100%", "--public": "sample"}


def in_order(words: Sequence[str]) -> list[str]:
    """Global options first; whatever stands behind `--` stays as it is.

    An option whose value is missing stands alone: whoever reads it must not take the command for its value.
    """
    front: list[str] = []
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word in VALUED:
            value = next(left, None)
            if value is None:
                return [word]
            front += [word, value]
        elif is_global(word):
            front.append(word)
        elif word in ALONE:  # typer has no options with an optional value
            rest.append(f"{word}={ALONE[word]}")
        else:
            rest.append(word)
    return [*front, *rest]


def is_global(word: str) -> bool:
    """Whether that is a global option."""
    return word in FLAGS or word.partition("=")[0] in VALUED
