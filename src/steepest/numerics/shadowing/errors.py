"""What one operation does to the error of its operands: the row of a table.

For a result ŷ of the program, with operands x̂, and the wide run's y of operands x,

    total        |ŷ − y| / |y|            at the element where it is greatest,
    introduced   |ŷ − f(x̂)| / |f(x̂)|       by this operation, f in float64,           (1)
    inherited    |f(x̂) − y| / |y|          through its operands,
    before       the error of its operands there, the greatest of |x̂ᵢ − xᵢ| / |xᵢ|,
    condition    Σᵢ |xᵢ ∂f/∂xᵢ| / |y|,

so that inherited ≤ condition · before to first order. For a sum, as in products of
matrices, `before` is Σ |x̂ᵢ − xᵢ| / Σ |xᵢ|. Errors of numbers below the smallest normal
one of the format are relative to that. Of a large result a regular sample of elements
is looked at.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ...core import jaxpr
from .operations import STEPS, is_float
from .wide import bind, run_wide, widened


SAMPLE = 16_384  # elements of a result


class Row(NamedTuple):
    """Scalars of float64; see the module."""

    total: Any
    introduced: Any
    inherited: Any
    before: Any
    condition: Any
    absorbed: Any  # 1 if a term of a sum vanished in it
    vanished: Any  # elements that are 0 though the wide run's are not
    decisions: Any  # elements that are decided in another way
    element: Any  # number of the element
    turn: Any  # of the innermost loop; −1 outside of loops
    native: Any  # ŷ
    wide: Any  # y
    ran: Any  # 1 if the operation was run


EMPTY = Row(*[0.0] * 9, -1.0, 0.0, 0.0, 0.0)
COLUMNS = {name: i for i, name in enumerate(Row._fields)}


def stacked(row: Row) -> Any:
    return jnp.stack([jnp.asarray(v, jnp.float64).reshape(()) for v in row])


class Pair(NamedTuple):
    """A value of the program and its shadow; one and the same if it is no float."""

    native: Any
    wide: Any


def paired(x: Any) -> Pair:
    x = x if isinstance(x, jax.Array) else _array(x)
    return Pair(x, widened(x))


def _array(x: Any) -> Any:
    extended = jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.extended)
    return x if extended else jnp.asarray(x)


def row_of(
    equation: jaxpr.Equation, operands: Sequence[Pair], outs: Sequence[Pair]
) -> Row:
    """The row of an equation that was run."""
    out = next((o for o in outs if is_float(o.native)), None)
    if out is None or equation.primitive in STEPS:
        return decided(equation, operands, outs[0])
    if out.native.size == 0:
        return EMPTY
    step = -(-out.native.size // SAMPLE)
    n = widened(out.native).reshape(-1)[::step]
    w = out.wide.reshape(-1)[::step]
    tiny = float(jnp.finfo(out.native.dtype).tiny)
    error = relative(n, w, tiny)
    k = first_greatest(error)
    element = k * step
    y_hat, y = n[k], w[k]
    seen = look(equation, operands, outs, element)
    return Row(
        total=error[k],
        introduced=relative(y_hat, seen.again, tiny),
        inherited=relative(seen.again, y, tiny),
        before=seen.before,
        condition=jnp.where(
            y == 0, jnp.where(seen.mass == 0, 0, jnp.inf), seen.mass / abs(y)
        ),
        absorbed=seen.absorbed,
        vanished=jnp.sum((n == 0) & (w != 0)) * float(step),
        decisions=0.0,
        element=element,
        turn=-1.0,
        native=jnp.real(y_hat),
        wide=jnp.real(y),
        ran=1.0,
    )


def first_greatest(x: Any) -> Any:
    """The index of the first greatest element of a vector without NaN.

    `argmax` is lowered outside of our context, and knows no float64 there.
    """
    index = jnp.arange(x.size, dtype=jnp.int32)
    return jnp.where(x == x.max(), index, x.size - 1).min()


def relative(a: Any, b: Any, tiny: float) -> Any:
    """|a − b| / |b|; 0 where b says nothing, ∞ where a is not finite and b is."""
    error = abs(a - b) / jnp.maximum(abs(b), tiny)
    lost = jnp.where(jnp.isfinite(a), error, jnp.inf)
    return jnp.where(jnp.isfinite(b) & (a != b), lost, 0.0)


def decided(equation: jaxpr.Equation, operands: Sequence[Pair], out: Pair) -> Row:
    """How many elements the wide run would decide in another way."""
    wides = [x.wide for x in operands]
    if equation.primitive in ("argmax", "argmin"):
        other = outdone(equation, wides[0], out.native)
    else:
        other = jnp.sum(bind(equation, wides)[0] != widened(out.native))
    return EMPTY._replace(decisions=other, ran=1.0)


def outdone(equation: jaxpr.Equation, x: Any, chosen: Any) -> Any:
    """How many indices of an `argmax` are not those of the greatest wide values."""
    (axis,) = equation.params["axes"]
    x = x if equation.primitive == "argmax" else -x
    at = jnp.expand_dims(chosen, axis).astype(jnp.int32)
    return jnp.sum(jnp.take_along_axis(x, at, axis) < x.max(axis, keepdims=True))


# -- One element of an operation -------------------------------------------------------


class Seen(NamedTuple):
    """An operation at one element of its result."""

    again: Any  # f(x̂) in float64
    before: Any
    mass: Any  # Σ |xᵢ ∂f/∂xᵢ|
    absorbed: Any


def look(
    equation: jaxpr.Equation,
    operands: Sequence[Pair],
    outs: Sequence[Pair],
    element: Any,
) -> Seen:
    name = equation.primitive
    if name in ELEMENTWISE:
        return at_element(equation, operands, element)
    if name in ROWS:
        terms = ROWS[name](equation, operands, element)
        return of_sum(*terms)
    if name in LINEAR:
        return of_linear(equation, operands, outs, element)
    return of_any(equation, operands, outs, element)


def at_element(equation: Any, operands: Sequence[Pair], element: Any) -> Seen:
    """One element of each operand."""
    shape = equation.outputs[0].shape

    at = jnp.unravel_index(element, shape)

    def pick(x: Any) -> Any:  # sides of length 1 are repeated
        if x.ndim == 0:
            return x
        return x[tuple(jnp.minimum(i, n - 1) for i, n in zip(at, x.shape, strict=True))]

    x_hat = [pick(x.native) for x in operands]
    x = [pick(v.wide) for v in operands]
    moved = [i for i, v in enumerate(x) if is_float(v)]
    wider = [widened(v) for v in x_hat]
    before = jnp.zeros((), jnp.float64)
    for i in moved:
        tiny = float(jnp.finfo(operands[i].native.dtype).tiny)
        before = jnp.maximum(before, relative(wider[i], x[i], tiny))
    absorbed: Any = 0.0
    if equation.primitive in SUMS and len(moved) == 2:
        a, b = (x_hat[i] for i in moved)
        (s,) = bind_native(equation, x_hat)
        absorbed = ((abs(s) == abs(a)) & (b != 0)) | ((abs(s) == abs(b)) & (a != 0))
        mass = abs(x[0]) + abs(x[1])
        return Seen(bind(equation, wider)[0], before, mass, absorbed)
    if equation.primitive in FLAT:
        return Seen(
            bind(equation, wider)[0], before, abs(bind(equation, x)[0]), absorbed
        )

    def f(*values: Any) -> Any:
        filled = list(x)
        for i, v in zip(moved, values, strict=True):
            filled[i] = v
        return jnp.real(bind(equation, filled)[0])

    slopes = jax.grad(f, tuple(range(len(moved))))(*(x[i] for i in moved))
    parts = [abs(x[i] * d) for i, d in zip(moved, slopes, strict=True)]
    mass = sum(jnp.where(jnp.isnan(p), 0.0, p) for p in parts)
    return Seen(bind(equation, wider)[0], before, mass, absorbed)


def bind_native(equation: Any, values: Sequence[Any]) -> list[Any]:
    return equation.bind(*values)


def of_sum(native: Any, wide: Any) -> Seen:
    """A sum of terms, which are given."""
    size, moved = abs(wide).sum(), abs(native - wide)
    moved = jnp.where(jnp.isnan(moved), 0.0, moved).sum()
    before = jnp.where(size > 0, moved / jnp.where(size > 0, size, 1), 0.0)
    return Seen(native.sum(), before, size, 0.0)


def reduce_terms(equation: Any, operands: Sequence[Pair], element: Any) -> Any:
    """The terms that one element of a `reduce_sum` adds."""
    x = operands[0]
    axes = equation.params["axes"]
    kept = [i for i in range(x.native.ndim) if i not in axes]
    at = jnp.unravel_index(element, [x.native.shape[i] for i in kept])
    chosen = dict(zip(kept, at, strict=True))
    return tuple(sliced(widened(v), chosen).reshape(-1) for v in x)


def dot_terms(equation: Any, operands: Sequence[Pair], element: Any) -> Any:
    """The products that one element of a `dot_general` adds."""
    (ca, cb), (ba, bb) = equation.params["dimension_numbers"]
    a, b = operands
    fa = [i for i in range(a.native.ndim) if i not in (*ca, *ba)]
    fb = [i for i in range(b.native.ndim) if i not in (*cb, *bb)]
    at = jnp.unravel_index(element, equation.outputs[0].shape)
    batch, rest = at[: len(ba)], at[len(ba) :]
    left = dict(zip([*ba, *fa], [*batch, *rest[: len(fa)]], strict=True))
    right = dict(zip([*bb, *fb], [*batch, *rest[len(fa) :]], strict=True))

    def terms(u: Any, v: Any) -> Any:
        u = sliced(widened(u), left).transpose([*ba, *fa, *ca]).reshape(-1)
        v = sliced(widened(v), right).transpose([*bb, *fb, *cb]).reshape(-1)
        return u * v

    return terms(a.native, b.native), terms(a.wide, b.wide)


def sliced(x: Any, at: dict[int, Any]) -> Any:
    """One place along each of some axes."""
    if not at:
        return x
    starts = [jnp.asarray(at.get(i, 0), jnp.int32) for i in range(x.ndim)]
    sizes = [1 if i in at else n for i, n in enumerate(x.shape)]
    return lax.dynamic_slice(x, starts, sizes)


def of_linear(
    equation: Any, operands: Sequence[Pair], outs: Sequence[Pair], element: Any
) -> Seen:
    """A linear operation: that of |x| is the mass."""
    operands, element = smaller(equation, operands, element)
    sizes = [Pair(x.native, abs(x.wide)) for x in operands]
    again = run(equation, [widened(x.native) for x in operands], operands, outs)
    size = run(equation, [v.wide for v in sizes], operands, outs)
    moved = [
        abs(widened(x.native) - x.wide) if is_float(x.wide) else x.wide
        for x in operands
    ]
    mass = jnp.real(size.reshape(-1)[element])
    if (
        len([x for x in operands if is_float(x.wide)]) == 2
        and "conv" in equation.primitive
    ):
        moved = [moved[0], sizes[1].wide]
    change = jnp.real(run(equation, moved, operands, outs).reshape(-1)[element])
    change = jnp.where(jnp.isfinite(change), change, 0.0)
    before = jnp.where(mass > 0, change / jnp.where(mass > 0, mass, 1), 0.0)
    return Seen(again.reshape(-1)[element], before, mass, 0.0)


def smaller(
    equation: Any, operands: Sequence[Pair], element: Any
) -> tuple[Sequence[Pair], Any]:
    """Of a convolution, only the example and the filter that the element is of."""
    if equation.primitive != "conv_general_dilated":
        return operands, element
    p = equation.params
    numbers, shape = p["dimension_numbers"], equation.outputs[0].shape
    at = list(jnp.unravel_index(element, shape))
    size = list(shape)
    cut: list[dict[int, Any]] = [{}, {}]
    if p["batch_group_count"] == 1:
        batch = numbers.out_spec[0]
        cut[0] = {numbers.lhs_spec[0]: at[batch]}
        at[batch], size[batch] = jnp.zeros((), jnp.int32), 1
    if p["feature_group_count"] == 1 and p["batch_group_count"] == 1:
        feature = numbers.out_spec[1]
        cut[1] = {numbers.rhs_spec[0]: at[feature]}
        at[feature], size[feature] = jnp.zeros((), jnp.int32), 1
    parts = [
        Pair(sliced(x.native, c), sliced(x.wide, c))
        for x, c in zip(operands, cut, strict=True)
    ]
    return parts, jnp.ravel_multi_index(tuple(at), size, mode="clip")


def of_any(
    equation: Any, operands: Sequence[Pair], outs: Sequence[Pair], element: Any
) -> Seen:
    """An operation that is known by its results alone."""
    again = run(equation, [widened(x.native) for x in operands], operands, outs)
    before = jnp.zeros((), jnp.float64)
    for x in operands:
        if is_float(x.native) and x.native.size:
            tiny = float(jnp.finfo(x.native.dtype).tiny)
            error = relative(widened(x.native), x.wide, tiny).max()
            before = jnp.maximum(before, error)
    return Seen(again.reshape(-1)[element], before, jnp.zeros(()), 0.0)


def run(
    equation: Any, wide: Any, operands: Sequence[Pair], outs: Sequence[Pair]
) -> Any:
    """The first float result of the equation in float64."""
    found = run_wide(
        equation, wide, [x.native for x in operands], [o.native for o in outs]
    )
    if found is None:
        found = [widened(o.native) for o in outs]
    return next(v for v in found if is_float(v))


SUMS = frozenset(["add", "sub", "add_any", "add_jaxvals"])
#: Of condition 1, or near it, everywhere.
FLAT = frozenset(
    ["mul", "div", "square", "sqrt", "rsqrt", "cbrt", "integer_pow", "convert_element_type"]
)
ELEMENTWISE = (
    SUMS
    | FLAT
    | frozenset(
        ["exp", "exp2", "expm1", "log", "log2", "log1p", "logistic", "tanh", "sinh", "cosh", "sin", "cos", "tan", "asin", "acos", "atan", "asinh", "acosh", "atanh", "erf", "erfc", "erf_inv", "lgamma", "digamma", "polygamma", "pow", "atan2", "rem", "one_minus_square", "bessel_i0e", "bessel_i1e", "igamma", "igammac", "zeta", "regularized_incomplete_beta", "reduce_precision"]
    )
)
ROWS: dict[str, Callable[..., Any]] = {
    "reduce_sum": reduce_terms,
    "dot_general": dot_terms,
}
LINEAR = frozenset(
    ["cumsum", "reduce_window_sum", "conv_general_dilated", "scatter-add", "scatter_add", "select_and_scatter_add"]
)
