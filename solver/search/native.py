"""How kernels are compiled: once a version of their sources, without the interpreter's lock.

Numba keeps compiled functions on disk, but looks only at the file of the function itself: a kernel
whose helper changed in another file would be taken for current. So the folder they are kept in
carries a digest of all sources of this room. Where it cannot be written, Numba's own choice of
places is left to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import config, types
from numba.experimental import structref

ROOM: Final = Path(__file__).parent

# Untyped, because Numba's own types leave out the options that spare wrappers nobody calls.
_njit: Any = numba.njit
_config: Any = config

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function that is called from Python."""
    kept = _config.CACHE_DIR
    _config.CACHE_DIR = kept or str(_folder())
    try:
        return cast(Function, _njit(nogil=True, cache=True, no_cfunc_wrapper=True)(function))
    finally:
        _config.CACHE_DIR = kept


def inner(function: Function) -> Function:
    """Compile a function that only kernels call."""
    options = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, _njit(**options)(function))


def inlined(function: Function) -> Function:
    """Compile a function into those that call it."""
    options = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(Function, _njit(forceinline=True, **options)(function))


def _plain(number: int) -> int:
    """Return a constant as a number like any other: kernels are not compiled for constants."""
    return types.int64(number)  # type: ignore[return-value]  # Numba's number


plain: Final[Callable[[int], int]] = _njit(inline="always")(_plain)


@cache
def _folder() -> Path:
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(ROOM.glob("*.py")):
        digest.update(source.read_bytes())
    return ROOM / "__pycache__" / f"kernels-{digest.hexdigest()[:16]}"


class Reference(types.StructRef):
    """Type of a bundle of arrays that kernels take as one pointer.

    A tuple of dozens of arrays would be passed on array by array, to every kernel and through
    every call, and would cost seconds of compiling for each.
    """

    def preprocess_fields(self, fields: Any) -> Any:
        """Take numbers as numbers, not as constants to compile for."""
        return tuple((name, types.unliteral(kind)) for name, kind in fields)


def packer(
    proxy: type[structref.StructRefProxy], kind: type[Reference], fields: tuple[str, ...]
) -> Callable[[Any], Any]:
    """Return a function that makes a bundle of a named tuple with these fields; arrays are shared.

    Parameters
    ----------
    proxy, kind
        What Python and what kernels know the bundle as; registered with Numba already.
    """
    structref.define_constructor(proxy, kind, fields)
    structref.define_boxing(kind, proxy)

    def pack(values: Any) -> Any:
        return proxy(*values)

    return kernel(pack)
