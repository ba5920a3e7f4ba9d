"""Programs as data: the one evaluation loop, and all that knows which JAX this is.

JAX traces a function to a *jaxpr*, a list of equations in single-assignment form. Every
analysis of a program is a different way to evaluate that list: with arrays it computes,
with intervals it bounds, with pairs (x, ẋ) it differentiates. So an analysis consists of

- a type of value, entered from constants by `lift`;
- a table `rules` from primitives to `rule(equation, *values) -> value(s)`;
- a `default` for primitives without a rule. It is never an error to have none: the
  result is whatever the analysis takes for "unknown", and `unseen` lists the place.

Control flow reaches a rule as one of four types with plain fields: `Call` (jit, remat,
functions with custom derivatives), `Scan`, `While`, `Cond`. They are keys of the table as
well; a `Call` without a rule is entered. No other file reads their parameters, and no
other file knows versions of JAX: from 0.11 on a `ClosedJaxpr` is a `Jaxpr`, and a scan
counts its operands by the trees `ft_in`, no longer by two numbers.

References
    Frostig, Johnson & Leary (2018), Compiling machine learning programs via high-level
    tracing.
"""

import functools
import os
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.extend import core


Closed = core.ClosedJaxpr
Rules = Mapping[Any, Callable]  # keys: primitives, their names, or Call, Scan, ...


class Place(NamedTuple):
    """A line of the user's source."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


NOWHERE = Place("", 0, "")


@dataclass(frozen=True)
class Call:
    """A function called by an equation and evaluated once: jit, remat, custom rules."""

    kind: str  # "jit", "custom_jvp", "custom_vjp", "remat", "call"
    name: str  # of the function: "relu"
    body: Closed


@dataclass(frozen=True)
class Scan:
    """`body(consts, carry, x) -> (carry, y)`, `length` times; operands in that order."""

    body: Closed
    num_consts: int
    num_carry: int
    length: int
    reverse: bool
    unroll: int


@dataclass(frozen=True)
class While:
    """`while condition(consts, carry): carry = body(consts, carry)`.

    Operands are the constants of the condition, those of the body, then the carry.
    """

    condition: Closed
    body: Closed
    num_condition_consts: int
    num_body_consts: int


@dataclass(frozen=True)
class Cond:
    """`branches[index](*operands)`; the index is the first operand."""

    branches: tuple[Closed, ...]


@dataclass(frozen=True)
class Equation:
    """One step of a program, as a rule sees it."""

    eqn: core.JaxprEqn
    place: Place
    path: tuple[str, ...]  # names of the calls and loops around it
    control: Call | Scan | While | Cond | None

    @property
    def primitive(self) -> str:
        return self.eqn.primitive.name

    @property
    def name(self) -> str:
        """What a reader would call it: the called function, else the primitive."""
        return self.control.name if isinstance(self.control, Call) else self.primitive

    @property
    def params(self) -> Mapping[str, Any]:
        return self.eqn.params

    @property
    def inputs(self) -> list[Any]:  # abstract values: shape and dtype
        return [v.aval for v in self.eqn.invars]

    @property
    def outputs(self) -> list[Any]:
        return [v.aval for v in self.eqn.outvars]

    def bind(self, *values: Any) -> list[Any]:
        """Run the equation as it is; a list of results, whatever their number."""
        params = self.eqn.primitive.get_bind_params(self.eqn.params)
        with self.eqn.ctx.manager:
            out = self.eqn.primitive.bind(*values, **params)
        return list(out) if self.eqn.primitive.multiple_results else [out]


class NotAnalysed(NamedTuple):
    """A primitive that an analysis had no rule for, and where."""

    primitive: str
    place: Place


class Program(NamedTuple):
    """A traced function."""

    closed: Closed
    out_tree: Any  # PyTreeDef


def trace(fun: Callable, *args: Any) -> Program:
    """Trace `fun` at `args`, arrays or `ShapeDtypeStruct`s; nothing is computed."""
    closed, shape = jax.make_jaxpr(fun, return_shape=True)(*args)
    return Program(closed, jax.tree.structure(shape))


def evaluate(
    closed: Closed,
    args: Sequence[Any],
    *,
    lift: Callable[[Any], Any],
    rules: Rules,
    default: Callable[..., Any],
    unseen: list[NotAnalysed] | None = None,
    around: Equation | None = None,
) -> list[Any]:
    """Evaluate a program under another interpretation; see the module docstring.

    A rule gets the `Equation` and the values of its operands, and returns one value, or
    a list where the primitive has several results. `around` is the equation whose body
    this is: it lends its place to equations that have none of their own.
    """
    jaxpr = closed.jaxpr
    env = dict(zip(jaxpr.constvars, map(lift, closed.consts), strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return lift(atom.val) if isinstance(atom, core.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        equation = describe(eqn, around)
        values = [read(atom) for atom in eqn.invars]
        rule = rules.get(eqn.primitive, rules.get(eqn.primitive.name))
        if rule is None:
            rule = rules.get(type(equation.control))
        try:
            if rule is not None:
                out = rule(equation, *values)
            elif isinstance(equation.control, Call):
                out = evaluate(
                    equation.control.body,
                    values,
                    lift=lift,
                    rules=rules,
                    default=default,
                    unseen=unseen,
                    around=equation,
                )
            else:
                if unseen is not None:
                    unseen.append(NotAnalysed(eqn.primitive.name, equation.place))
                out = default(equation, *values)
        except Exception as error:
            if equation.place != NOWHERE:
                error.add_note(f"in `{equation.name}` at {equation.place}")
            raise
        outs = out if isinstance(out, list) else [out]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def equations(closed: Closed, around: Equation | None = None) -> Iterator[Equation]:
    """Every equation of a program, outermost first, and those inside of it."""
    for eqn in closed.jaxpr.eqns:
        equation = describe(eqn, around)
        yield equation
        for body in bodies(equation.control):
            yield from equations(body, equation)


def bodies(control: Call | Scan | While | Cond | None) -> tuple[Closed, ...]:
    """The programs inside a piece of control flow."""
    match control:
        case Call() | Scan():
            return (control.body,)
        case While():
            return (control.condition, control.body)
        case Cond():
            return control.branches
        case _:
            return ()


def describe(eqn: core.JaxprEqn, around: Equation | None = None) -> Equation:
    """The equation with its place in the user's source and its control flow read."""
    place = place_of(eqn.source_info.traceback)
    path: tuple[str, ...] = ()
    if around is not None:
        path = (*around.path, around.name)
        if place == NOWHERE:
            place = around.place
    return Equation(eqn, place, path, control_of(eqn))


# -- What differs between versions of JAX ---------------------------------------------


CALLS = {
    "jit": "jit",
    "pjit": "jit",
    "custom_jvp_call": "custom_jvp",
    "custom_vjp_call": "custom_vjp",
    "custom_vjp_call_jaxpr": "custom_vjp",
    "remat": "remat",
    "remat2": "remat",
    "checkpoint": "remat",
    "closed_call": "call",
    "core_call": "call",
    "custom_lin": "call",
    "run_state": "call",
}


def control_of(eqn: core.JaxprEqn) -> Call | Scan | While | Cond | None:
    """The control flow of an equation, or None for an ordinary primitive."""
    params, name = eqn.params, eqn.primitive.name
    if name == "scan":
        consts, carry = _scan_sizes(params)
        return Scan(
            _closed(params["jaxpr"]),
            consts,
            carry,
            params["length"],
            params["reverse"],
            params.get("unroll", 1),
        )
    if name == "while":
        return While(
            _closed(params["cond_jaxpr"]),
            _closed(params["body_jaxpr"]),
            params["cond_nconsts"],
            params["body_nconsts"],
        )
    if name == "cond":
        return Cond(tuple(map(_closed, params["branches"])))
    if name in CALLS:
        inner = list(core.jaxprs_in_params(params))
        if len(inner) == 1 and len(_closed(inner[0]).jaxpr.invars) == len(eqn.invars):
            body = _closed(inner[0])
            return Call(CALLS[name], params.get("name") or _function_name(body), body)
    return None


def _closed(jaxpr: Any) -> Closed:
    return jaxpr if hasattr(jaxpr, "consts") else Closed(jaxpr, ())


def _scan_sizes(params: Mapping[str, Any]) -> tuple[int, int]:
    if "ft_in" in params:  # JAX 0.11
        consts, carry, _ = params["ft_in"].unpack()
        return len(consts), len(carry)
    return params["num_consts"], params["num_carry"]


def _function_name(closed: Closed) -> str:
    info = getattr(closed.jaxpr, "debug_info", None)
    return str(getattr(info, "func_src_info", "") or "call").split(" at ")[0]


# -- Where in the user's source ---------------------------------------------------------


LIBRARIES = ("jax", "jaxlib", "equinox", "flax", "optax", "jaxtyping", "beartype", "haiku")
OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
USERS_ROOMS = ("problems",)  # programs that we ship, read as a user's would be
STANDARD = sysconfig.get_paths()["stdlib"]


def place_of(traceback: Any) -> Place:  # jaxlib's Traceback, or None
    """The innermost line of a traceback that is not in a library.

    A function that JAX traced on its own (`jax.nn.silu` is jitted) has no such line;
    then the equation that calls it lends its own.
    """
    return NOWHERE if traceback is None else _place_of(traceback)


@functools.lru_cache(maxsize=20_000)
def _place_of(traceback: Any) -> Place:
    for frame in traceback.frames:
        if not in_library(frame.file_name):
            return Place(frame.file_name, frame.line_num, frame.function_name)
    return NOWHERE


@functools.lru_cache(maxsize=20_000)
def in_library(file: str) -> bool:
    """Whether a file belongs to a library rather than to the user's program."""
    if file.startswith("<"):
        return True
    if file.startswith(OURS + os.sep):
        return file[len(OURS) + 1 :].split(os.sep)[0] not in USERS_ROOMS
    for packages in ("site-packages", "dist-packages"):
        _, found, rest = file.rpartition(f"{os.sep}{packages}{os.sep}")
        if found:
            return rest.split(os.sep)[0] in LIBRARIES
    return file.startswith(STANDARD + os.sep)
