"""Expressions as a reader would write them: log(softmax(x)), not five primitives."""

from .engine import Change
from .exponential import exp_of
from .expression import MOVES, Expressions, Node, origin
from .halves import SHORT
from .logarithm import product
from .softmaxes import is_softmax


LETTERS = "xyzuvwabcdpqrst"
INFIX = {"add": " + ", "sub": " − ", "mul": "·", "div": " / "}
TIGHT = {"add": 1, "sub": 1, "mul": 2, "div": 2, "neg": 2}
NAMES = {
    "logistic": "sigmoid",
    "reduce_sum": "sum",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "max": "maximum",
    "min": "minimum",
    "select_n": "where",
    "acos": "arccos",
    "atanh": "arctanh",
    "atan": "arctan",
    "dot_general": "dot",
    "apart": "",
}
FLAT = frozenset(("float32", "float16", "bfloat16", "spread"))


def formulas(change: Change) -> tuple[str, str]:
    """The old form and the new one, with the same letters for the same values."""
    names: dict[int, str] = {}
    stop = {origin(node).id for node in change.cut}
    old = _write(change.xs, change.old, names, stop, 7)[0]
    if change.form is None:
        return old, ""
    new = _write(change.xs, change.form.node, names, stop, 7)[0]
    wide = change.form.node is not change.old and new == old
    return old, f"{new}, in float32" if wide and _short(change.old) else new


def _short(node: Node) -> bool:
    """Whether sixteen bits are among the formats of a value and its operands."""
    return any(n.dtype in SHORT for n in (node, *node.args))


def _write(
    xs: Expressions, node: Node, names: dict[int, str], stop: set[int], depth: int
) -> tuple[str, int]:
    """(text, how tightly it binds)."""
    node = origin(node, MOVES | FLAT)
    if node.known is not None:
        return _number(node.known), 3 if node.known >= 0 else 1
    leaf = node.id in stop or not node.args or depth == 0
    called = node.equation is not None and node.equation.control is not None
    if (leaf or called) and (node.op != "det" or node.id in stop):
        if node.id not in names:
            k = len(names)
            names[node.id] = LETTERS[k] if k < len(LETTERS) else f"x{k}"
        return names[node.id], 3

    def inner(a: Node) -> tuple[str, int]:
        return _write(xs, a, names, stop, depth - 1)

    op = node.op.rstrip("'")
    if op == "div" and is_softmax(xs, node):
        whole = exp_of(xs, product(xs, node).E, node)
        if whole.op == "softmax":
            return f"softmax({inner(whole.args[0])[0]})", 3
    if op in INFIX:
        tight = TIGHT[op]
        (p, s), (q, t) = map(inner, node.args)
        p = f"({p})" if s < tight else p
        q = f"({q})" if t < tight or (t == tight and op in ("sub", "div")) else q
        if op == "add" and q.startswith("−"):
            return f"{p} − {q.removeprefix('−')}", tight
        return f"{p}{INFIX[op]}{q}", tight
    if op == "neg":
        p, s = inner(node.args[0])
        return f"−({p})" if s < 2 else f"−{p}", 1
    if op in ("square", "integer_pow"):
        p, s = inner(node.args[0])
        power = "²" if op == "square" else f"^{node.params['y']}"
        return (f"{p}{power}" if s >= 3 else f"({p}){power}"), 3
    if op == "pow":
        p, q = (f"({a})" if s < 3 else a for a, s in map(inner, node.args))
        return f"{p}^{q}", 3
    if op == "select_n":
        predicate, false, true = node.args
        parts = [inner(a)[0] for a in (predicate, true, false)]
        return f"where({', '.join(parts)})", 3
    if op == "where":
        predicate, false, true = node.args
        parts = [inner(a)[0] for a in (predicate, true, false)]
        return f"where({', '.join(parts)})", 3
    if op == "apart":
        return inner(node.args[0])
    name = NAMES.get(op, op.removeprefix("custom "))
    return f"{name}({', '.join(inner(a)[0] for a in node.args)})", 3


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")
