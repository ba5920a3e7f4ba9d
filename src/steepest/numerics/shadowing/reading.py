"""What the rows of a shadow say: introduced and inherited error, condition, kind.

With ŷ = fl(f(x̂)) the program's result, and y = f(x) the wide run's,

    total        |ŷ − y| / |y|
    introduced   |ŷ − f(x̂)| / |f(x̂)|       by this operation                          (1)
    inherited    |f(x̂) − y| / |y|          through its operands
    before       maxᵢ |x̂ᵢ − xᵢ| / |xᵢ|       of its operands; of a sum Σ |x̂ᵢ − xᵢ| / Σ |xᵢ|
    condition    Σᵢ |xᵢ ∂f/∂xᵢ| / |y|

so that inherited ≤ condition · before to first order. f is evaluated in extended
precision. A number that could not be worked out is NaN.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import mpmath
import numpy as np

from ..exact import functions
from ..exact.run import Run
from .errors import COLUMNS
from .operations import TERMS, Operation


DIGITS = 40


class Loss(NamedTuple):
    """What became of the error at one operation, at its worst element."""

    operation: Operation
    kind: str  # "cancellation", "sensitivity", "absorption", "rounding", ...
    total: float
    introduced: float
    inherited: float
    before: float
    condition: float
    native: float
    wide: float
    element: int
    turn: int | None  # of the innermost loop around it
    decisions: int  # elements that the wide run would decide in another way

    @property
    def growth(self) -> float:
        """How much greater the error is behind the operation than before it."""
        return self.total / max(self.before, self.operation.eps / 2)

    @property
    def digits(self) -> float:
        """Correct decimal digits of the result."""
        return float(-np.log10(self.total)) if self.total > 0 else float("inf")


def read(operation: Operation, row: Any) -> Loss:
    """The numbers (1) of a row."""
    get = {name: float(row[i]) for name, i in COLUMNS.items()}
    native, wide = get["native"], get["wide"]
    tiny = tiny_of(operation)
    if operation.primitive in TERMS:
        again, mass = get["first"], get["first_wide"]
        before = get["second"] / mass if mass else 0.0
    else:
        again, mass = at_element(operation, get)
        before = before_of(operation, get)
    condition = mass / abs(wide) if wide else float("inf") if mass else 0.0
    loss = Loss(
        operation,
        "",
        total=get["error"],
        introduced=relative(native, again, tiny),
        inherited=relative(again, wide, tiny),
        before=before,
        condition=condition,
        native=native,
        wide=wide,
        element=int(get["element"]),
        turn=None if get["turn"] < 0 else int(get["turn"]),
        decisions=int(get["decisions"]),
    )
    return loss._replace(kind=kind_of(loss, get))


def tiny_of(operation: Operation) -> float:
    return float(jnp.finfo(operation.format).tiny)


def relative(a: float, b: float, tiny: float) -> float:
    if np.isnan(b) or a == b:
        return float("nan") if np.isnan(b) else 0.0
    if not np.isfinite(b):
        return 0.0
    return abs(a - b) / max(abs(b), tiny) if np.isfinite(a) else float("inf")


def before_of(operation: Operation, get: dict[str, float]) -> float:
    """The error of the operands at the element."""
    pairs = [("first", "first_wide"), ("second", "second_wide")]
    tiny = tiny_of(operation)
    found = [relative(get[a], get[b], tiny) for a, b in pairs]
    return max(0.0 if np.isnan(v) else v for v in found)


def at_element(operation: Operation, get: dict[str, float]) -> tuple[float, float]:
    """f(x̂), and Σ |xᵢ ∂f/∂xᵢ|."""
    name = operation.primitive
    x_hat = [get["first"], get["second"]]
    x = [get["first_wide"], get["second_wide"]]
    if name in ADDS:
        sign = -1 if name == "sub" else 1
        return x_hat[0] + sign * x_hat[1], abs(x[0]) + abs(x[1])
    with mpmath.workdps(DIGITS):
        try:
            return _at_element(operation, x_hat, x)
        except (*functions.FAILURES, TypeError, AttributeError):
            return float("nan"), float("nan")


def _at_element(
    operation: Operation, x_hat: list[float], x: list[float]
) -> tuple[float, float]:
    name = operation.primitive
    run = Run(mpmath.mp.prec, 0)
    if name in ("convert_element_type", "reduce_precision"):
        return x_hat[0], abs(x[0])
    if name == "integer_pow":
        n = operation.exponent or 1
        y = functions.power(run, mpmath.mpf(x_hat[0]), mpmath.mpf(n))
        return to_float(y), abs(n) * abs(to_float(mpmath.mpf(x[0]) ** n))
    if name in functions.UNARY:
        f = functions.real_only(functions.UNARY[name])
        u = mpmath.mpf(x[0])
        return to_float(f(mpmath.mpf(x_hat[0]))), to_float(abs(u * mpmath.diff(f, u)))
    if name in functions.BINARY:
        g = functions.BINARY[name]
        y = g(run, *map(mpmath.mpf, x_hat))
        u, v = map(mpmath.mpf, x)
        slope = mpmath.diff(lambda t: g(run, t, v), u) * u
        other = mpmath.diff(lambda t: g(run, u, t), v) * v
        return to_float(y), to_float(abs(slope) + abs(other))
    return float("nan"), float("nan")


def to_float(x: Any) -> float:
    try:
        return float(x)
    except OverflowError:
        return float("inf") if x > 0 else float("-inf")


ADDS = frozenset(["add", "sub", "add_any", "add_jaxvals"])

# -- What sort of loss ------------------------------------------------------------------


#: Condition numbers above which a difference cancels, a function is sensitive.
CONDITIONED = 32.0
ADDING = ADDS | TERMS
POLES = frozenset(
    [
        "log",
        "log2",
        "log1p",
        "div",
        "rsqrt",
        "atanh",
        "erf_inv",
        "lgamma",
        "digamma",
        "pow",
        "integer_pow",
    ]
)


def kind_of(loss: Loss, get: dict[str, float]) -> str:
    """What sort of loss a row shows."""
    name, u = loss.operation.primitive, loss.operation.eps / 2
    if loss.operation.decides:
        return "decision" if loss.decisions else "none"
    if not np.isfinite(loss.native):
        return not_finite(name, loss.native, get)
    if name in ("convert_element_type", "reduce_precision"):
        return "cast"
    if loss.native == 0 and loss.wide != 0 and not loss.condition >= CONDITIONED:
        return "underflow" if name not in ADDING else "absorption"
    if loss.condition >= CONDITIONED:
        return "cancellation" if name in ADDING else "sensitivity"
    if name in ADDS and loss.operation.loop:
        return "accumulation"
    if name in ADDS and absorbed(get):
        return "absorption"
    if name in TERMS and (loss.introduced > 8 * u or loss.growth > 16):
        return "accumulation"
    if loss.operation.loop and loss.total > 16 * u:
        return "accumulation"
    if name in ("logistic", "tanh", "erf") and abs(loss.native) == 1:
        return "saturation"
    return "rounding"


def absorbed(get: dict[str, float]) -> bool:
    """Whether a term of a sum made no difference."""
    a, b, s = abs(get["first"]), abs(get["second"]), abs(get["native"])
    return (s == a and b != 0) or (s == b and a != 0)


def not_finite(name: str, value: float, get: dict[str, float]) -> str:
    a, b = get["first"], get["second"]
    if not np.isnan(value):
        return "pole" if name in POLES else "overflow"
    if name == "div":
        return "0/0" if a == 0 and b == 0 else "∞/∞"
    return {"mul": "0·∞", "sub": "∞−∞", "add": "∞−∞"}.get(name, "domain")
