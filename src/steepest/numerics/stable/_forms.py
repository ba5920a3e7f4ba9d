"""What the stable forms share: one rounding, derivatives that are given, exact scales.

**One rounding.** A result in float16, bfloat16 or float8 is computed in float32 and
rounded once, so that its error is half a unit in the last place and no more.

**Derivatives that are given.** Where the derivative that automatic differentiation
would form loses digits, overflows or is 0/0, the function carries its derivatives as
functions of their own, each stable: f, f′, f″.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from ...core.errors import InputError, type_name


Unary = Callable[[Array], Array]
Axis = int | Sequence[int] | None


def rounded_once(
    floats: int = 1, static: tuple[str, ...] = (), broadcast: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function, and compute it in float32 where its type is narrower.

    The first `floats` arguments are brought to their common floating type and, if
    `broadcast`, to their common shape; the results have that type. Arguments named in
    `static` are no arrays.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            given = [jnp.asarray(x) for x in args[:floats]]
            dtype = floating(function.__name__, *given)
            wide = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype
            if broadcast and len(given) > 1:
                shape = common_shape(function.__name__, *given)
                given = [jnp.broadcast_to(x, shape) for x in given]
            result = function(
                *(x.astype(wide) for x in given), *args[floats:], **options
            )
            return jax.tree.map(lambda y: y.astype(dtype), result)

        compiled = jax.jit(wrapped, static_argnames=static)

        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            for x in args[:floats]:
                refuse(function.__name__, x)
            if isinstance(options.get("axis"), list):
                options["axis"] = tuple(options["axis"])
            return compiled(*args, **options)

        return called

    return decorate


def refuse(name: str, x: Any) -> None:
    """Raise `InputError` for what is no array of numbers."""
    dtype = getattr(x, "dtype", None)
    if hasattr(x, "__jax_array__"):
        return
    if dtype is None:
        fits = all(isinstance(v, NUMBERS) for v in jax.tree.leaves(x))
        fits = fits and isinstance(x, (*NUMBERS, list, tuple))
    else:
        fits = jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, bool)
    if not fits:
        kind = type_name(x) if dtype is None else f"an array of {dtype}"
        raise InputError(f"`{name}` takes an array of numbers; {kind} came.")


NUMBERS = (bool, int, float, complex, np.generic, np.ndarray, jax.Array)


def floating(name: str, *arrays: Array) -> Any:  # a dtype
    """The common floating type of `arrays`; that of Python's floats if they have none.

    Raises `InputError` for complex numbers.
    """
    dtype = jnp.result_type(*arrays)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise InputError(
            f"`{name}` is a function of real numbers, and was given {dtype}; "
            "take the real or the imaginary part first."
        )
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


def common_shape(name: str, *arrays: Array) -> tuple[int, ...]:
    """The shape that the arrays are repeated to; `InputError` if there is none."""
    try:
        return jnp.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in arrays)
        raise InputError(
            f"The arguments of `{name}` have shapes {shapes}, which do not broadcast "
            "to one; give arrays of one shape, or with axes of length 1."
        ) from None


def fitted(name: str, y: Array, x: Array) -> Array:
    """`y` repeated to the shape of `x`; `InputError` if it does not fit."""
    try:
        return jnp.broadcast_to(y, x.shape)
    except ValueError:
        raise InputError(
            f"{name} has shape {y.shape}, which does not fit the shape {x.shape} of the "
            "array; give one of that shape, or with axes of length 1."
        ) from None


def derivatives(function: Unary, *higher: Unary) -> Unary:
    """The elementwise `function` with its first, second, ... derivative as given.

    The last one is differentiated as JAX would.
    """
    if not higher:
        return function
    slope = derivatives(*higher)
    given = jax.custom_jvp(function)
    given.defjvps(lambda t, y, x: t * slope(x))
    return given


def along(*terms: tuple[Callable[[], Array], Any]) -> Any:
    """Σ slope · t over the arguments that are differentiated, for `symbolic_zeros`.

    The slope of an argument that is not may be infinite, and inf · 0 is NaN.
    """
    moving = [slope() * t for slope, t in terms if not isinstance(t, SymbolicZero)]
    return functools.reduce(operator.add, moving)


@jax.custom_jvp
def divide(x: Array, y: Array) -> Array:
    """x / y, and 0 where x is 0, also 0/0.

    The derivative −(x/y)/y divides twice, where JAX's own multiplies by y⁻², which
    overflows for |y| below the root of the smallest normal number.
    """
    return jnp.where(x == 0, jnp.where(jnp.isnan(y), y, 0.0), x / nonzero(y, x == 0))


@partial(divide.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    ratio, one = divide(x, y), jnp.ones_like(x)
    return ratio, along((lambda: one, tx), (lambda: -ratio, ty)) / nonzero(y, y == 0)


def nonzero(y: Array, where: Array) -> Array:
    """`y` with ones in the places `where`: they are selected away afterwards."""
    return jnp.where(where, 1.0, y)


def horner(coefficients: Sequence[float], x: Array) -> Array:
    """c₀ + c₁x + c₂x² + ..."""
    total = jnp.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


def terms(x: Array, single: int, double: int) -> int:
    """How many terms of a series the type of `x` asks for."""
    return double if jnp.finfo(x.dtype).bits > 32 else single


def _log1p(x: Array) -> Array:
    if jnp.finfo(x.dtype).bits <= 32:
        return jnp.log1p(x)
    near = (x > -0.5) & (x < 1)
    s = jnp.where(near, x, 0.0)
    r2 = 2 * s / (2 + s)
    series = horner([0.25**k / (2 * k + 1) for k in range(18)], r2 * r2)
    return jnp.where(near, r2 * series, jnp.log(1 + x))


#: log(1 + x) as 2 artanh(x/(2 + x)); XLA's in float64 errs by 23 units at −0.39.
log1p_of = derivatives(_log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) / (1 + x))


def binade(x: Array) -> Array:
    """The power of two at or below |x|, and 0 for 0: a scale without rounding.

    At most half of the format's greatest one, of which the reciprocal is normal: the
    compiler multiplies by reciprocals.
    """
    bits, mask = {
        4: (jnp.uint32, 0x7F800000),
        8: (jnp.uint64, 0x7FF0000000000000),
    }[x.dtype.itemsize]
    exponent = lax.bitcast_convert_type(x, bits) & jnp.asarray(mask, bits)
    scale = lax.bitcast_convert_type(exponent, x.dtype)
    most = 2.0 ** (jnp.finfo(x.dtype).maxexp - 2)
    return lax.stop_gradient(
        jnp.where(jnp.isinf(scale), scale, jnp.minimum(scale, most))
    )


def axes(x: Array, axis: Axis) -> tuple[int, ...]:
    """`axis` as a tuple of numbers from 0."""
    if axis is None:
        return tuple(range(x.ndim))
    try:
        given = tuple(axis) if isinstance(axis, Sequence) else (axis,)
        wanted = tuple(operator.index(a) for a in given)
    except TypeError:
        raise InputError(
            f"`axis` is a whole number, several in a tuple, or None; {axis!r} came."
        ) from None
    for a in wanted:
        if x.ndim == 0:
            raise InputError(
                f"A single number has no axis {a}; give an array, as in x[None]."
            )
        if not -x.ndim <= a < x.ndim:
            raise InputError(
                f"There is no axis {a} in an array of shape {x.shape}; "
                f"name one from {-x.ndim} to {x.ndim - 1}."
            )
    found = tuple(a % x.ndim for a in wanted)
    if len(set(found)) < len(found):
        raise InputError(f"`axis` names an axis twice: {axis!r}; name each once.")
    return found


def count(x: Array, axis: tuple[int, ...]) -> int:
    """How many elements a reduction over `axis` takes together."""
    return math.prod(x.shape[a] for a in axis)


def squeezed(y: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    return y if keepdims else jnp.squeeze(y, axis)
