"""The words of a command line, before typer sees them: global options may stand on either side of the command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

#: Global options that take a value, and those that do not.
VALUED = frozenset({"--env", "--state", "--log-file"})
FLAGS = frozenset({"-q", "--quiet", "-v", "--verbose", "--version"})
#: Options whose value may be left out, and what they then mean.
ALONE = {"--deep": "100%", "--public": "sample"}
_SEVERAL = re.compile("-[hqvn]{2,}")


def in_order(words: Sequence[str]) -> list[str]:
    """Global options first; whatever stands behind `--` stays as it is.

    An option whose value is missing stands alone: whoever reads it must not take the command for its value.
    """
    front: list[str] = []
    rest: list[str] = []
    left = iter(_single(words))
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


def _single(words: Sequence[str]) -> Iterator[str]:
    """`-qq` and `-nv` are what they are elsewhere: several short options in one word."""
    is_over = False
    for word in words:
        is_over |= word == "--"
        if not is_over and _SEVERAL.fullmatch(word):
            yield from (f"-{letter}" for letter in word[1:])
        else:
            yield word


def is_global(word: str) -> bool:
    """Whether that is a global option."""
    return word in FLAGS or word.partition("=")[0] in VALUED
