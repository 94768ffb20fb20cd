"""One object's trouble as an answer: whoever works on many goes on with the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mastomend.errors import ObjectError

_T = TypeVar("_T")


def attempted(act: Callable[..., _T], *arguments: object) -> _T | ObjectError:
    """What it gives, or why that object is not to be had. Raises what concerns all objects."""
    try:
        return act(*arguments)
    except ObjectError as error:
        return error
