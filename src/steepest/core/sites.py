"""What an equation is to a reader of networks: non-linearity, product, normalisation.

- *Non-linearity*: tanh and σ, max(z, 0), `where(z > 0, z, 0)`, and functions known by
  name. Such a function is one site, whatever is inside of it.
- *Product*: `dot_general`, convolutions.
- *Normalisation*: u·s or u/s, where the scale s is made from the root of a smaller
  array (a statistic of each example or unit), and u is a difference (x − mean) or s is
  computed from u itself (RMS).

The names of functions that JAX inlines, such as `jax.nn.gelu`, remain in the tracebacks
of their equations: an unbroken run of these is one site.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend import core

from . import jaxpr


#: Functions known by name; what is inside of them is not a site of its own.
NONLINEAR = frozenset(
    (
        "celu",
        "elu",
        "gelu",
        "hard_sigmoid",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "leaky_relu",
        "mish",
        "prelu",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_sign",
        "softplus",
        "sparse_plus",
        "squareplus",
        "swish",
        "tanh",
    )
)
#: Functions that JAX inlines where they are called, so that there is no `Call`.
INLINED = frozenset(("gelu",))
#: Functions whose insides are of no interest: they belong to losses and heads.
OPAQUE = frozenset(
    ("log_sigmoid", "log_softmax", "logaddexp", "logsumexp", "softmax", "erf_inv")
)
NONLINEAR_PRIMITIVES = frozenset(("tanh", "logistic"))
PRODUCTS = frozenset(("dot_general", "conv_general_dilated", "ragged_dot"))
MOVES = frozenset(
    ("broadcast_in_dim", "reshape", "squeeze", "convert_element_type", "transpose")
)
SCALING = MOVES | {"mul", "add", "max", "integer_pow", "square"}
ROOTS = frozenset(("rsqrt", "sqrt", "std", "_std", "norm"))
DEPTH = 40  # equations that are looked at behind a root


class Site(NamedTuple):
    """A place in a program where a value can be captured."""

    kind: str  # "nonlinearity", "matmul", "normalization", "other"
    name: str  # "relu", "dot_general"
    place: jaxpr.Place
    path: tuple[str, ...]  # names of the calls and loops around it
    axis: int = -1  # of the units, counted from the end: features or channels

    def __str__(self) -> str:
        where = str(self.place) if self.place.file else "?"
        return f"{self.name} {where}"


class Sites:
    """The sites among the equations of one jaxpr, not those inside of its calls."""

    def __init__(self, closed: jaxpr.Closed) -> None:
        eqns = closed.jaxpr.eqns
        given = (*closed.jaxpr.constvars, *closed.jaxpr.invars)
        self.given = {var: i for i, var in enumerate(given)}
        self.makers: dict[Any, Any] = {v: eqn for eqn in eqns for v in eqn.outvars}
        self.users: dict[Any, list[core.JaxprEqn]] = {}
        for eqn in eqns:
            for var in _variables(eqn):
                self.users.setdefault(var, []).append(eqn)
        self.runs = _runs(eqns)
        self.units: dict[int, int] = {}  # what `_units` has found, by the equation's id

    def site(self, equation: jaxpr.Equation) -> Site | None:
        """What an equation is; None for one that is hidden inside a known function."""
        eqn, name = equation.eqn, equation.name
        if not eqn.outvars:
            return Site("other", name, equation.place, equation.path)
        if name in OPAQUE and equation.control is not None:
            return None
        kind = "other"
        if run := self.runs.get(id(eqn)):
            kind, name = "nonlinearity", run[0]
        elif name in (NONLINEAR if equation.control else NONLINEAR_PRIMITIVES):
            kind = "nonlinearity"
        elif equation.primitive == "max" and any(map(_is_zero, eqn.invars)):
            if not self._guards_root(eqn):
                kind, name = "nonlinearity", "relu"
        elif name in ("_where", "where", "select_n") and (known := self._where(eqn)):
            kind, name = "nonlinearity", known
        elif equation.primitive in PRODUCTS:
            kind = "matmul"
        elif equation.primitive in ("mul", "div") and self._normalises(eqn):
            kind, name = "normalization", "normalization"
        if kind == "nonlinearity" and not _is_floating(eqn.outvars[0].aval):
            kind = "other"
        axis = -1 if kind == "other" else self._axis(eqn)
        return Site(kind, name, equation.place, equation.path, axis)

    def begins(self, equation: jaxpr.Equation) -> bool:
        """Whether the input of the site is an operand of this equation."""
        run = self.runs.get(id(equation.eqn))
        return run is None or run[1]

    def ends(self, equation: jaxpr.Equation) -> bool:
        """Whether the output of the site is the result of this equation."""
        run = self.runs.get(id(equation.eqn))
        return run is None or run[2]

    def operand(self, equation: jaxpr.Equation) -> int:
        """Which operand is the input: the first array of the result's shape."""
        shape = equation.outputs[0].shape
        for i, aval in enumerate(equation.inputs):
            if aval.shape == shape and _is_floating(aval):
                return i
        return 0

    def _maker(self, var: Any) -> Any:
        """The equation that makes `var`; None for an input or a constant."""
        return None if isinstance(var, core.Literal) else self.makers.get(var)

    def _origin(self, var: Any) -> Any:  # a Var: `var` before it was moved or cast
        while (eqn := self._maker(var)) and eqn.primitive.name in MOVES:
            var = eqn.invars[0]
        return var

    def _where(self, eqn: core.JaxprEqn) -> str:
        """`where(z > 0, z, 0)` and `where(z > 0, z, a z)`, by name."""
        if len(eqn.invars) != 3:
            return ""
        test, *cases = eqn.invars
        if eqn.primitive.name == "select_n":
            cases.reverse()
        positive, negative = cases
        made = self._maker(test)
        if (
            made is None
            or made.primitive.name not in ("gt", "ge")
            or made.invars[0] is not positive
            or not _is_zero(made.invars[1])
        ):
            return ""
        if _is_zero(self._origin(negative)):
            return "relu"
        scaled = self._maker(negative)
        if scaled is not None and scaled.primitive.name == "mul":
            return "leaky_relu" if positive in _variables(scaled) else ""
        return ""

    def _guards_root(self, eqn: core.JaxprEqn, depth: int = 4) -> bool:
        """Whether max(·, 0) only keeps the argument of a root from being negative."""
        users = self.users.get(eqn.outvars[0], ())
        return any(
            user.primitive.name in ROOTS
            or (
                depth > 0
                and user.primitive.name in MOVES | {"add"}
                and self._guards_root(user, depth - 1)
            )
            for user in users
        )

    def _normalises(self, eqn: core.JaxprEqn) -> bool:
        if not _is_floating(eqn.outvars[0].aval):
            return False
        a, b = eqn.invars
        pairs = ((a, b),) if eqn.primitive.name == "div" else ((a, b), (b, a))
        return any(self._is_scaled(data, scale, eqn) for data, scale in pairs)

    def _is_scaled(self, data: Any, scale: Any, eqn: core.JaxprEqn) -> bool:
        root = self._root(scale)
        if root is None or _size(root.outvars[0]) >= _size(eqn.outvars[0]):
            return False
        data = self._origin(data)
        centred = self._maker(data)
        if centred is not None and centred.primitive.name == "sub":
            return True
        return not isinstance(data, core.Literal) and self._depends(root, data)

    def _root(self, var: Any, depth: int = 8) -> Any:  # a JaxprEqn or None
        """The equation that takes the root from which a scale is made."""
        eqn = self._maker(var)
        if eqn is None or not depth:
            return None
        name = eqn.primitive.name
        if name in ROOTS or str(eqn.params.get("name", "")) in ROOTS:
            return eqn
        if name not in SCALING:
            return None
        return next(filter(None, (self._root(v, depth - 1) for v in eqn.invars)), None)

    def _depends(self, eqn: core.JaxprEqn, var: Any) -> bool:
        """Whether an equation depends on `var`, looking a few equations back."""
        queue = [eqn]
        for _ in range(DEPTH):
            if not queue:
                break
            made = queue.pop(0)
            origins = [self._origin(v) for v in made.invars]
            if any(v is var for v in origins):
                return True
            queue += filter(None, map(self._maker, origins))
        return False

    def _axis(self, eqn: Any) -> int:  # a JaxprEqn
        """Where the units of the value are that an equation makes, from the end.

        Followed back to the product or convolution that made the units, through
        element-wise equations and moves; −1 where none is found.
        """
        return self._units(eqn, DEPTH) or -1

    def _units(self, eqn: Any, depth: int) -> int:  # a JaxprEqn; 0: not known
        if id(eqn) not in self.units:
            self.units[id(eqn)] = self._find_units(eqn, depth)
        return self.units[id(eqn)]

    def _find_units(self, eqn: Any, depth: int) -> int:
        name = eqn.primitive.name
        if name == "conv_general_dilated":
            out = eqn.outvars[0].aval.shape
            return eqn.params["dimension_numbers"].out_spec[1] - len(out)
        if name in PRODUCTS:
            return self._units_of_product(eqn)
        if not depth:
            return 0
        shape = eqn.outvars[0].aval.shape
        for var in _variables(eqn):
            made, before = self._maker(var), var.aval.shape
            if made is None or math.prod(before) != math.prod(shape):
                continue
            axis = self._units(made, depth - 1)
            if name == "transpose" and axis:
                axis = eqn.params["permutation"].index(len(before) + axis) - len(shape)
            elif axis and before[axis:] != shape[axis:]:
                axis = 0
            if axis:
                return axis
        return 0

    def _units_of_product(self, eqn: Any) -> int:  # a JaxprEqn
        """The last free axis of the weights: one operand that nothing has computed.

        Where both operands are such, parameters come before data: what a function
        closes over first, then the first argument. `vmap` of `W @ x` makes the units
        the first axis of a table of examples, not the last.
        """
        if eqn.primitive.name != "dot_general":
            return -1
        contracted, batch = eqn.params["dimension_numbers"]
        free = [
            len(v.aval.shape) - len(c) - len(b)
            for v, c, b in zip(eqn.invars, contracted, batch, strict=True)
        ]
        origins = map(self._origin, eqn.invars)
        left, right = (
            None if isinstance(v, core.Literal) else self.given.get(v) for v in origins
        )
        if left is None or not free[0] or (right is not None and right < left):
            return -1
        return -1 - free[1]


def _runs(eqns: Any) -> dict[int, tuple[str, bool, bool]]:
    """For equations of inlined functions: its name, whether it is first, or last."""
    runs: list[tuple[Any, list[core.JaxprEqn]]] = []
    for eqn in eqns:
        name = _inlined(eqn)
        if runs and runs[-1][0] == name and not _begins_again(eqn, runs[-1][1]):
            runs[-1][1].append(eqn)
        else:
            runs.append((name, [eqn]))
    return {
        id(eqn): (name[0], eqn is run[0], eqn is run[-1])
        for name, run in runs
        if name is not None
        for eqn in run
    }


def _begins_again(eqn: core.JaxprEqn, run: list[core.JaxprEqn]) -> bool:
    """Whether a second call of the function on the same line starts here."""
    made = {var for before in run for var in before.outvars}
    known = any(v in made for v in _variables(eqn))
    ends = run[-1].primitive.name in ("mul", "convert_element_type")
    return ends and not known and eqn.primitive is run[0].primitive


def _inlined(eqn: core.JaxprEqn) -> tuple[str, jaxpr.Place] | None:
    if jaxpr.control_of(eqn) is not None:
        return None
    traceback = eqn.source_info.traceback
    for name in jaxpr.library_of(traceback):
        if name in INLINED:
            return name, jaxpr.place_of(traceback)[0]
    return None


def _variables(eqn: core.JaxprEqn) -> list[Any]:
    return [v for v in eqn.invars if not isinstance(v, core.Literal)]


def _is_zero(var: Any) -> bool:
    if not isinstance(var, core.Literal) or jnp.ndim(var.val):
        return False
    return bool(var.val == 0)


def _is_floating(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.floating)


def _size(var: Any) -> int:
    return math.prod(var.aval.shape)
