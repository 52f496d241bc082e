"""How kernels are compiled: once a version of their sources, without the interpreter's lock.

Numba keeps compiled functions on disk, but looks only at the file of the function itself: a kernel
whose helper changed in another file would be taken for current. So the folder they are kept in
carries a digest of all sources of this room. Where it cannot be written, Numba's own choice of
places is left to it.

What makes no arrays is compiled without the counting of references: at every look at an array of a
bundle, it would take twenty times as long as the look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import cgutils, config, types
from numba.core.datamodel.models import StructRefModel
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.experimental import structref
from numba.experimental.structref import _Utils
from numba.extending import lower_getattr_generic, lower_setattr_generic, register_model

ROOM: Final = Path(__file__).parent

# Untyped, because Numba's own types leave out the options that spare wrappers nobody calls.
_njit: Any = numba.njit
_config: Any = config

_INNER: Final = {"nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile a function that is called from Python and makes no arrays."""
    return _kept(function, _nrt=False)


def making_kernel(function: Function) -> Function:
    """Compile a function that is called from Python and makes arrays, or calls what does."""
    return _kept(function)


def inner(function: Function) -> Function:
    """Compile a function that only kernels call and that makes no arrays."""
    return cast(Function, _njit(_nrt=False, **_INNER)(function))


def making(function: Function) -> Function:
    """Compile a function that only kernels call and that makes arrays."""
    return cast(Function, _njit(**_INNER)(function))


def inlined(function: Function) -> Function:
    """Compile a function into those that call it; it makes no arrays."""
    return cast(Function, _njit(_nrt=False, forceinline=True, **_INNER)(function))


def _kept(function: Function, **options: bool) -> Function:
    kept = _config.CACHE_DIR
    _config.CACHE_DIR = kept or str(_folder())
    try:
        compiled = _njit(nogil=True, cache=True, no_cfunc_wrapper=True, **options)(function)
        return cast(Function, compiled)
    finally:
        _config.CACHE_DIR = kept


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


def registered(kind: type[Reference]) -> type[Reference]:
    """Make a bundle known to Numba; use as a decorator.

    Kernels borrow its arrays: who holds the bundle keeps them alive.
    """
    register_model(kind)(StructRefModel)

    @infer_getattr
    class Fields(AttributeTemplate):
        key = kind

        def generic_resolve(self, bundle: Any, name: str) -> Any:  # type: ignore[override]  # a hook
            return bundle.field_dict.get(name)

    def borrow(context: Any, builder: Any, bundle: Any, value: Any, name: str) -> Any:
        data = _fields(context, builder, bundle, value)
        field = bundle.field_dict[name]
        if not isinstance(field, types.Array):
            return getattr(data, name)
        array = context.make_array(field)(context, builder, value=getattr(data, name))
        array.meminfo = array.meminfo.type(None)
        return array._getvalue()

    def keep(context: Any, builder: Any, signature: Any, values: Any, name: str) -> None:
        bundle, given = signature.args
        field = bundle.field_dict[name]
        value = context.cast(builder, values[1], given, field)
        context.nrt.incref(builder, field, value)
        setattr(_Utils(context, builder, bundle).get_data_struct(values[0]), name, value)

    lower_getattr_generic(kind)(borrow)
    lower_setattr_generic(kind)(keep)
    return kind


def _fields(context: Any, builder: Any, bundle: Any, value: Any) -> Any:
    """Return the fields of a bundle, found without help that counts references."""
    payload = bundle.get_data_type()
    layout = context.data_model_manager[payload].get_value_type()
    info = cgutils.create_struct_proxy(bundle)(context, builder, value=value).meminfo
    words = builder.bitcast(info, cgutils.voidptr_t.as_pointer())
    # The fourth word of the block that Numba puts before what it owns points to the fields.
    data = builder.load(builder.gep(words, [context.get_constant(types.intp, 3)]))
    return cgutils.create_struct_proxy(payload)(
        context, builder, ref=builder.bitcast(data, layout.as_pointer())
    )


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

    return making_kernel(pack)
