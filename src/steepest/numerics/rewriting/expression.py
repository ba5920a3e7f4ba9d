"""A program as expressions in which equal values are one object.

Every value of a program becomes a `Node`: an operation and the nodes that it reads. Two
equations that compute the same thing from the same operands give the same node (value
numbering), through the calls of jit, so that x − max x and exp z / Σ exp z are
recognised by identity, whoever wrote them and in whichever spelling:

- x·x, x² and `integer_pow` are `square`; x^½ is `sqrt`; 0 − x and −1·x are `neg`;
- x − 0, x / 1, 1·x, max(−∞, x) and a select whose predicate is known are their operand;
- arithmetic of constants is carried out.

Rewriting builds new nodes by the same functions. A new node has a function of JAX
(`fun`) or the equation of the operation that it repeats on other operands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core

from ...core import jaxpr


@dataclass(eq=False)
class Node:
    """A value: the operation that makes it, and of what."""

    id: int
    op: str
    args: tuple["Node", ...] = ()
    shape: tuple[int, ...] = ()
    dtype: Any = None
    params: dict[str, Any] = field(default_factory=dict)
    value: Any = None  # of a constant that is the same everywhere
    array: Any = None  # of any other constant
    equation: jaxpr.Equation | None = None
    result: int = 0  # which of the equation's results
    fun: Callable[..., Any] | None = None
    guarded: bool = False  # made by a library function that keeps its values

    @property
    def floating(self) -> bool:
        return self.dtype is not None and jnp.issubdtype(self.dtype, jnp.floating)

    @property
    def known(self) -> float | None:
        """The number that it is everywhere, if that is known."""
        return None if self.op != "const" else float(self.value)


#: Operations that move elements of their first operand, and change none.
MOVES = frozenset(
    (
        "broadcast_in_dim",
        "reshape",
        "squeeze",
        "expand_dims",
        "transpose",
        "slice",
        "dynamic_slice",
        "gather",
        "diagonal",
        "rev",
        "copy",
        "copy_p",
        "stop_gradient",
        "convert_element_type",
        "sharding_constraint",
    )
)
COMMUTATIVE = frozenset(("add", "mul", "max", "min", "and", "or", "eq", "ne"))

FOLDED: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "square": np.square,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
    "max": np.maximum,
    "min": np.minimum,
    "gt": np.greater,
    "lt": np.less,
    "ge": np.greater_equal,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": jnp.add,
    "sub": jnp.subtract,
    "mul": jnp.multiply,
    "div": jnp.divide,
    "neg": jnp.negative,
    "square": jnp.square,
    "sqrt": jnp.sqrt,
    "exp": jnp.exp,
    "log": jnp.log,
    "abs": jnp.abs,
    "max": jnp.maximum,
    "min": jnp.minimum,
}


class Expressions:
    """The nodes of one program, each there once."""

    def __init__(self) -> None:
        self.table: dict[Any, Node] = {}
        self.memo: dict[Any, Any] = {}  # of the forms that are asked for
        self.count = 0

    # -- making nodes ------------------------------------------------------------------

    def node(
        self,
        op: str,
        args: Sequence[Node] = (),
        *,
        shape: tuple[int, ...],
        dtype: Any,
        key: Any = (),
        **rest: Any,
    ) -> Node:
        """The node of this operation on these operands, made if it is new."""
        if op in COMMUTATIVE:
            args = sorted(args, key=lambda arg: arg.id)
        index = (op, tuple(a.id for a in args), tuple(shape), str(dtype), key)
        try:
            found = self.table.get(index)
        except TypeError:  # unhashable parameters: a node of its own
            index, found = (op, self.count), None
        if found is None:
            found = Node(self.count, op, tuple(args), tuple(shape), dtype, **rest)
            self.count += 1
            self.table[index] = found
        return found

    def leaf(self, aval: Any) -> Node:
        shape, dtype = tuple(getattr(aval, "shape", ())), getattr(aval, "dtype", None)
        return self.node("input", shape=shape, dtype=dtype, key=self.count)

    def const(self, value: Any, shape: tuple[int, ...] = (), dtype: Any = None) -> Node:
        """A constant; `value` is one number."""
        dtype = jnp.result_type(float) if dtype is None else dtype
        if jnp.issubdtype(dtype, jnp.floating):
            value = np.float64(value)
        else:
            value = np.asarray(value).astype(dtype)
        key = value.tobytes()
        return self.node("const", shape=shape, dtype=dtype, key=key, value=value)

    def constant(self, array: Any) -> Node:
        """A constant of the program: one number everywhere, or an array."""
        dtype = getattr(array, "dtype", None) or np.asarray(array).dtype
        shape = tuple(np.shape(array))
        plain = not isinstance(array, core.Tracer) and not jnp.issubdtype(
            dtype, jax.dtypes.extended
        )
        if plain and 0 < np.prod(shape, dtype=int) <= 1 << 16:
            host = np.asarray(array)
            first = host.reshape(-1)[0]
            if bool(np.all(host == first)):
                return self.const(first, shape, dtype)
        return self.node(
            "literal", shape=shape, dtype=dtype, key=id(array), array=array
        )

    def call(self, name: str, fun: Callable, *args: Node, **rest: Any) -> Node:
        """A function on operands of one shape, elementwise unless `shape` is given."""
        shape = rest.pop("shape", None)
        options = rest.pop("options", {})
        full = max(args, key=lambda a: len(a.shape))
        shape = full.shape if shape is None else tuple(shape)
        dtype = rest.pop("dtype", None) or next(
            (a.dtype for a in args if a.op != "const"), full.dtype
        )
        key = () if name in ARITHMETIC else (name, tuple(sorted(options.items())))
        bound = (lambda *xs: fun(*xs, **options)) if options else fun
        return self.node(
            name, args, shape=shape, dtype=dtype, key=key, params=options, fun=bound
        )

    def _arithmetic(self, op: str, *args: Node) -> Node:
        if all(a.op == "const" for a in args):
            with np.errstate(all="ignore"):
                value = FOLDED[op](*(np.asarray(a.value, np.float64) for a in args))
            full = max(args, key=lambda a: len(a.shape))
            return self.const(value, full.shape, full.dtype)
        return self.call(op, ARITHMETIC[op], *args)

    def number(self, value: float, like: Node) -> Node:
        return self.const(value, (), like.dtype)

    def neg(self, a: Node) -> Node:
        if a.op == "neg":
            return a.args[0]
        if a.op == "sub":
            return self.sub(a.args[1], a.args[0])
        return self._arithmetic("neg", a)

    def add(self, a: Node, b: Node) -> Node:
        if a.known == 0 and len(b.shape) >= len(a.shape):
            return b
        if b.known == 0 and len(a.shape) >= len(b.shape):
            return a
        if b.op == "neg":
            return self.sub(a, b.args[0])
        if a.op == "neg":
            return self.sub(b, a.args[0])
        return self._arithmetic("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        if b.known == 0 and len(a.shape) >= len(b.shape):
            return a
        if a.known == 0 and len(b.shape) >= len(a.shape):
            return self.neg(b)
        if b.op == "neg":
            return self.add(a, b.args[0])
        return self._arithmetic("sub", a, b)

    def mul(self, a: Node, b: Node) -> Node:
        for one, other in ((a, b), (b, a)):
            if len(other.shape) >= len(one.shape):
                if one.known == 1:
                    return other
                if one.known == -1:
                    return self.neg(other)
        if a is b:
            return self.square(a)
        return self._arithmetic("mul", a, b)

    def div(self, a: Node, b: Node) -> Node:
        if b.known == 1 and len(a.shape) >= len(b.shape):
            return a
        return self._arithmetic("div", a, b)

    def square(self, a: Node) -> Node:
        return self._arithmetic("square", a)

    def scale(self, a: Node, factor: float) -> Node:
        return self.mul(a, self.number(factor, a))

    def unary(self, op: str, a: Node) -> Node:
        return self._arithmetic(op, a)

    def select(self, predicate: Node, false: Node, true: Node) -> Node:
        """`jnp.where(predicate, true, false)`."""
        full = max((predicate, false, true), key=lambda a: len(a.shape))
        typed = next((a for a in (true, false) if a.op != "const"), true)
        return self.node(
            "where",
            (predicate, false, true),
            shape=full.shape,
            dtype=typed.dtype,
            fun=lambda p, f, t: jnp.where(p, t, f),
        )

    def move(self, like: Node, operand: Node) -> Node:
        """What `like` does to its first operand, done to `operand` of that shape."""
        if like.op == "convert_element_type" and operand.dtype == like.dtype:
            return operand
        if operand.op == "const":
            return self.const(operand.value, like.shape, like.dtype)
        if operand is like.args[0]:
            return like
        if operand.shape != like.args[0].shape:
            operand = self.spread(operand, like.args[0].shape)
        dtype = like.dtype if like.op == "convert_element_type" else operand.dtype
        return self.node(
            like.op,
            (operand, *like.args[1:]),
            shape=like.shape,
            dtype=dtype,
            key=("as", like.id),
            params=like.params,
            equation=like.equation,
            fun=like.fun,
        )

    def spread(self, a: Node, shape: tuple[int, ...]) -> Node:
        """A scalar in a whole array's place."""
        if a.shape == shape:
            return a
        if a.op == "const":
            return self.const(a.value, shape, a.dtype)
        return self.node(
            "spread",
            (a,),
            shape=shape,
            dtype=a.dtype,
            params={"shape": shape},
            fun=lambda x: jnp.broadcast_to(x, shape),
        )

    # -- reading programs --------------------------------------------------------------

    def primitive(self, equation: jaxpr.Equation, args: Sequence[Node]) -> list[Node]:
        """The nodes of an equation's results, in canonical spelling."""
        op, params = equation.primitive, dict(equation.params)
        avals = equation.outputs
        if len(avals) == 1 and equation.control is None:
            shape, dtype = tuple(avals[0].shape), avals[0].dtype
            simple = self._simplified(op, params, args, shape, dtype)
            if isinstance(simple, Node):
                return [simple]
            op, args, params = simple
        return self.opaque(equation, op, args, params)

    def opaque(
        self, equation: jaxpr.Equation, op: str, args: Sequence[Node], params: dict
    ) -> list[Node]:
        outs = []
        if "axes" in params:
            params = {**params, "axes": tuple(map(int, params["axes"]))}
        pure = equation.control is None and not equation.eqn.effects
        key = _key(params) if pure else id(equation.eqn)
        for k, aval in enumerate(equation.outputs):
            whole = (key, k, len(equation.outputs))
            outs.append(
                self.node(
                    op,
                    args,
                    shape=tuple(getattr(aval, "shape", ())),
                    dtype=getattr(aval, "dtype", None),
                    key=() if pure and op in ARITHMETIC else whole,
                    params=params,
                    equation=equation,
                    result=k,
                    fun=ARITHMETIC.get(op),
                )
            )
        return outs

    def _simplified(
        self, op: str, params: dict, args: Sequence[Node], shape: tuple, dtype: Any
    ) -> Any:
        """Another node that is equal; else the operation in canonical spelling."""
        same = [a for a in args if a.shape == shape and a.dtype == dtype]
        if op == "integer_pow" and params["y"] == 2:
            op, params = "square", {}
        elif op == "pow" and args[1].known is not None:
            t = args[1].known
            if t in (2.0, 0.5):
                op, params, args = ("square" if t == 2 else "sqrt"), {}, args[:1]
        elif op == "mul" and args[0] is args[1]:
            op, params, args = "square", {}, args[:1]
        if op == "sqrt":
            params = {}
        if op in FOLDED and all(a.op == "const" for a in args):
            with np.errstate(all="ignore"):
                values = [np.asarray(a.value).astype(a.dtype) for a in args]
                out = np.asarray(FOLDED[op](*values)).astype(dtype)
                return self.const(out, shape, dtype)
        if op in MOVES and args[0].op == "const" and op not in ("gather",):
            return self.const(args[0].value, shape, dtype)
        if op in ("copy", "copy_p") or (
            op in ("convert_element_type", "reshape", "broadcast_in_dim")
            and same
            and args[0] is same[0]
        ):
            return args[0]
        if op == "mul":
            for one, other in ((args[0], args[1]), (args[1], args[0])):
                if one.known == 1 and other in same:
                    return other
                if one.known == -1 and other in same:
                    return "neg", (other,), {}
        if op == "div" and args[1].known == 1 and args[0] in same:
            return args[0]
        if op == "sub" and args[1].known == 0 and args[0] in same:
            return args[0]
        if op == "sub" and args[0].known == 0 and args[1] in same:
            return "neg", (args[1],), {}
        if op == "max":
            for one, other in ((args[0], args[1]), (args[1], args[0])):
                if one.known == -np.inf and other in same:
                    return other
        if op == "select_n" and args[0].known is not None and len(args) == 3:
            chosen = args[1 + int(args[0].known)]
            if chosen in same:
                return chosen
        return op, args, params


def _key(params: dict[str, Any]) -> Any:
    """Parameters as a key; those that cannot be one make the node unique."""
    key = tuple(sorted((k, _frozen(v)) for k, v in params.items()))
    hash(key)
    return key


def _frozen(value: Any) -> Any:
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return (type(value).__name__, value)


def origin(node: Node, through: frozenset[str] = MOVES) -> Node:
    """Follow a value back through moves, conversions and the guard of an infinity."""
    while True:
        if node.op in through:
            node = node.args[0]
        elif node.op in ("select_n", "where") and node.args[0].op == "is_finite":
            guarded = node.args[0].args[0]
            if guarded not in node.args[1:]:
                return node
            node = guarded
        else:
            return node


def upright(x: Node, axes: Sequence[int]) -> tuple[Node, tuple[int, ...]]:
    """An array that is transposed, and its axes, as it was before."""
    while x.op == "transpose":
        axes = tuple(x.params["permutation"][k] for k in axes)
        x = x.args[0]
    return x, tuple(map(int, axes))
