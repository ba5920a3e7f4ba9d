"""What is known of a value whatever the inputs: bounds, signs, and where it varies.

Bounds are those of the computed value: exp x reaches 0 and ∞, since it underflows and
overflows. Of relations, those are known that make an exponential safe: x − max x ≤ 0
with 0 attained, so that Σ exp(x − max x) lies in [1, n]; and a / Σ a in [0, 1].
"""

import math
from collections.abc import Callable

import numpy as np

from .expression import MOVES, Expressions, Node, origin


Bounds = tuple[float, float]
ALL: Bounds = (-math.inf, math.inf)


def bounds(xs: Expressions, node: Node) -> Bounds:
    """The least and the greatest value that `node` can take."""
    memo = xs.memo.setdefault("bounds", {})
    if node.id not in memo:
        memo[node.id] = ALL  # while it is being asked for
        memo[node.id] = _bounds(xs, node)
    return memo[node.id]


def positive(xs: Expressions, node: Node) -> bool:
    """Whether it is never negative."""
    return bounds(xs, node)[0] >= 0


def _monotone(f: Callable[[float], float]) -> Callable[[Bounds], Bounds]:
    def image(b: Bounds) -> Bounds:
        return f(b[0]), f(b[1])

    return image


def _exp(x: float) -> float:
    return 0.0 if x < -80 else math.inf if x > 80 else math.exp(x)


def _log(x: float) -> float:
    return -math.inf if x <= 0 else math.inf if x == math.inf else math.log(x)


MONOTONE = {
    "exp": _monotone(_exp),
    "log": _monotone(_log),
    "logistic": _monotone(lambda x: 1 / (1 + _exp(-x))),
    "tanh": _monotone(lambda x: math.tanh(x)),
    "erf": _monotone(lambda x: math.erf(x)),
    "log1p": _monotone(lambda x: _log(1 + x)),
    "expm1": _monotone(lambda x: _exp(x) - 1),
    "softplus": _monotone(lambda x: x if x > 30 else math.log1p(_exp(x))),
    "sqrt": _monotone(lambda x: math.sqrt(max(x, 0.0))),
}
FIXED: dict[str, Bounds] = {
    "erfc": (0.0, 2.0),
    "cosh": (1.0, math.inf),
    "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0),
    "square": (0.0, math.inf),
    "norm": (0.0, math.inf),
    "softmax": (0.0, 1.0),
    "ndtr": (0.0, 1.0),
    "log_softmax": (-math.inf, 0.0),
    "rsqrt": (0.0, math.inf),
}
ELEMENTS = MOVES | {
    "reduce_max",
    "reduce_min",
    "spread",
    "sort",
    "argsort",
    "cummax",
    "cummin",
}


def _bounds(xs: Expressions, node: Node) -> Bounds:
    op, args = node.op, node.args
    if op == "const":
        value = float(node.value) if not np.iscomplexobj(node.value) else math.nan
        return ALL if math.isnan(value) else (value, value)
    if op == "literal" and node.floating and np.size(node.array) <= 1 << 16:
        try:
            host = np.asarray(node.array, np.float64)
        except Exception:  # a tracer of an outer transformation
            return ALL
        return (float(host.min()), float(host.max())) if host.size else ALL
    if op == "input" or not args or node.dtype is None:
        return ALL
    if op in MONOTONE:
        return MONOTONE[op](bounds(xs, args[0]))
    if op in ("relu",):
        return max(0.0, bounds(xs, args[0])[0]), max(0.0, bounds(xs, args[0])[1])
    if op == "square":
        low, high = bounds(xs, args[0])
        big = max(low * low, high * high)
        return (0.0 if low <= 0 <= high else min(low * low, high * high)), big
    if op in FIXED:
        return FIXED[op]
    if op == "abs":
        low, high = bounds(xs, args[0])
        least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        return least, max(abs(low), abs(high))
    if op in ELEMENTS:
        return bounds(xs, args[0])
    if op == "neg":
        low, high = bounds(xs, args[0])
        return -high, -low
    if op in ("select_n", "where"):
        cases = [bounds(xs, a) for a in args[1:]]
        return min(b[0] for b in cases), max(b[1] for b in cases)
    if op in ("max", "min"):
        f = max if op == "max" else min
        (a, b), (c, d) = bounds(xs, args[0]), bounds(xs, args[1])
        return f(a, c), f(b, d)
    if op == "concatenate":
        cases = [bounds(xs, a) for a in args]
        return min(b[0] for b in cases), max(b[1] for b in cases)
    if op == "add":
        (a, b), (c, d) = bounds(xs, args[0]), bounds(xs, args[1])
        return _sum(a, c, -math.inf), _sum(b, d, math.inf)
    if op == "sub":
        if shifted(node) is not None:
            return -math.inf, 0.0
        (a, b), (c, d) = bounds(xs, args[0]), bounds(xs, args[1])
        return _sum(a, -d, -math.inf), _sum(b, -c, math.inf)
    if op == "mul":
        return _corners(_product, bounds(xs, args[0]), bounds(xs, args[1]))
    if op == "div":
        if share(node) is not None and positive(xs, args[0]):
            return 0.0, 1.0
        low, high = bounds(xs, args[1])
        if low > 0 or high < 0:
            return _corners(_quotient, bounds(xs, args[0]), (low, high))
        if low >= 0 and positive(xs, args[0]):
            return 0.0, math.inf
        return ALL
    if op == "integer_pow":
        return (0.0, math.inf) if node.params["y"] % 2 == 0 else ALL
    if op == "pow":
        return (0.0, math.inf) if positive(xs, args[0]) else ALL
    if op in ("reduce_sum", "cumsum"):
        return _reduced(xs, node)
    if op == "reduce_prod":
        return (0.0, math.inf) if positive(xs, args[0]) else ALL
    return ALL


def _sum(a: float, b: float, otherwise: float) -> float:
    total = a + b
    return otherwise if math.isnan(total) else total


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _quotient(a: float, b: float) -> float:
    return 0.0 if math.isinf(b) and math.isinf(a) else a / b


def _corners(f: Callable[[float, float], float], p: Bounds, q: Bounds) -> Bounds:
    values = [f(a, b) for a in p for b in q]
    return min(values), max(values)


def _reduced(xs: Expressions, node: Node) -> Bounds:
    (a,) = node.args
    low, high = bounds(xs, a)
    count = max(int(np.prod(a.shape)) // max(int(np.prod(node.shape)), 1), 1)
    if node.op == "cumsum":
        count = a.shape[node.params["axis"]]
        return min(low, low * count), max(high, high * count)
    least = _product(low, count)
    if a.op == "exp" and shifted(a.args[0], _axes(node)) is not None:
        least = 1.0  # the maximum itself
    return least, _product(high, count)


def _axes(node: Node) -> tuple[int, ...]:
    return tuple(node.params["axes"])


def shifted(node: Node, axes: tuple[int, ...] | None = None) -> Node | None:
    """The x of x − max x, whose maximum is over `axes` (any, if None) of x."""
    if node.op != "sub":
        return None
    x, m = node.args
    top = origin(m)
    if top.op not in ("reduce_max",) or origin(top.args[0]) is not origin(x):
        return None
    if axes is not None and tuple(_axes(top)) != axes:
        return None
    if top.args[0].shape != x.shape:
        return None
    return x if not any(varies(m, k) for k in _axes(top)) else None


def share(node: Node) -> Node | None:
    """The sum Σ a of a / Σ a, where it is divided by along the axes summed over."""
    if node.op != "div":
        return None
    a, below = node.args
    total = origin(below)
    if total.op != "reduce_sum" or total.args[0].shape != a.shape:
        return None
    if origin(total.args[0]) is not origin(a):
        return None
    return total if not any(varies(below, k) for k in _axes(total)) else None


def varies(node: Node, axis: int) -> bool:
    """Whether a value can differ along `axis`."""
    if node.op == "const" or not node.shape or node.shape[axis] == 1:
        return False
    if node.op == "spread":
        return False
    if node.op == "broadcast_in_dim":
        dims = tuple(node.params["broadcast_dimensions"])
        if axis not in dims:
            return False
        inner = dims.index(axis)
        return node.args[0].shape[inner] != 1 and varies(node.args[0], inner)
    if node.op in ("convert_element_type", "stop_gradient", "copy"):
        return varies(node.args[0], axis)
    plain = node.args and all(a.shape in ((), node.shape) for a in node.args)
    if plain and node.op in ELEMENTWISE:
        return any(varies(a, axis) for a in node.args if a.shape)
    return True


ELEMENTWISE = frozenset(
    (
        *("add", "sub", "mul", "div", "neg", "exp", "log", "abs", "sqrt", "square"),
        *("max", "min", "select_n", "where", "is_finite", "tanh", "logistic"),
    )
)
