"""The raw buffers of an Arrow column, through the Arrow C data interface (a stable ABI made for this).

A scan hands millions of keys from DuckDB to other processes. As Python strings each would cost more than half of what
looking it up costs; as buffers a hundred thousand of them are one copy.
"""

from __future__ import annotations

import ctypes
from array import array
from typing import Any, Protocol


class ArrowColumn(Protocol):
    """Anything that exports one Arrow array."""

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """(schema capsule, array capsule)."""
        ...


class _ArrowArray(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.POINTER(ctypes.c_void_p)),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


_pointer_of: Any = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = (ctypes.py_object, ctypes.c_char_p)


def _struct(capsule: object) -> _ArrowArray:
    return _ArrowArray.from_address(_pointer_of(capsule, b"arrow_array"))


def strings(column: ArrowColumn) -> tuple[array[int], bytes]:
    """A Utf8 column without NULLs as (n + 1 offsets, UTF-8 bytes); value i is `data[offsets[i]:offsets[i + 1]]`."""
    _, capsule = column.__arrow_c_array__()
    found = _struct(capsule)
    if found.null_count > 0 or found.n_buffers != 3:
        raise ValueError("not a plain string column without NULLs")
    offsets = array("i", ctypes.string_at(found.buffers[1] + 4 * found.offset, 4 * (found.length + 1)))
    return offsets, ctypes.string_at(found.buffers[2], offsets[-1]) if offsets[-1] else b""


def integers(column: ArrowColumn) -> array[int]:
    """An Int64 column without NULLs."""
    _, capsule = column.__arrow_c_array__()
    found = _struct(capsule)
    if found.null_count > 0 or found.n_buffers != 2:
        raise ValueError("not a plain integer column without NULLs")
    return array("q", ctypes.string_at(found.buffers[1] + 8 * found.offset, 8 * found.length))
