"""Programs as data: the one evaluation loop, and all that knows which JAX this is.

JAX traces a function to a *jaxpr*, a list of equations in single-assignment form. Every
analysis of a program is a different way to evaluate that list: arrays give values,
intervals bounds, pairs (x, ẋ) derivatives. So an analysis consists of

- a type of value, entered from constants by `lift`;
- a table `rules` from primitives to `rule(equation, *values) -> value(s)`;
- a `default` for primitives without a rule. It is never an error to have none: the
  result is whatever the analysis takes for "unknown", and `unseen` counts the places.

Control flow reaches a rule as one of four types with plain fields: `Call` (jit, remat,
functions with custom derivatives), `Scan`, `While`, `Cond`. They are keys of the table
too; a `Call` without a rule is entered. No other file reads their parameters, and no
other file knows versions of JAX: from 0.11 on a `ClosedJaxpr` is a `Jaxpr`, and a scan
counts its operands by the trees `ft_in`, no longer by two numbers.

What rules compute is traced under the line of the equation that they stand for, so a
program that was interpreted once still knows its places when it is read again.

References
    Frostig, Johnson & Leary (2018), Compiling machine learning programs via high-level
    tracing.
"""

import functools
import os
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax._src import source_info_util  # `user_context` alone: see `Equation.context`
from jax.extend import core


Closed: TypeAlias = core.ClosedJaxpr
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
    wrap: Callable[[Callable], Callable]  # gives another body the same treatment


@dataclass(frozen=True)
class Scan:
    """`body(consts, carry, x) -> (carry, y)`, `length` times, in that order."""

    body: Closed
    num_consts: int
    num_carry: int
    length: int
    reverse: bool
    unroll: int

    def split(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Operands as (constants, initial carry, sequences)."""
        n, m = self.num_consts, self.num_consts + self.num_carry
        return list(values[:n]), list(values[n:m]), list(values[m:])


@dataclass(frozen=True)
class While:
    """`while condition(consts, carry): carry = body(consts, carry)`.

    Operands are the constants of the condition, those of the body, then the carry.
    """

    condition: Closed
    body: Closed
    num_condition_consts: int
    num_body_consts: int

    def split(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Operands as (the condition's constants, the body's, initial carry)."""
        n = self.num_condition_consts
        m = n + self.num_body_consts
        return list(values[:n]), list(values[n:m]), list(values[m:])


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
    control: Any  # Call, Scan, While or Cond; None for an ordinary primitive
    traceback: Any = None  # jaxlib's, that `place` was read from
    address: tuple[int, ...] = ()  # body and number in it, from the outermost inwards

    @property
    def library(self) -> tuple[str, ...]:
        """Library functions between the user's line and the equation, outermost first.

        `jax.nn.gelu` and `jax.nn.softmax` are inlined where they are called, so that
        this is where their names remain.
        """
        return library_of(self.eqn.source_info.traceback)

    def of_library(self, *parts: str) -> bool:
        """Whether the function that the user called is in a file under one of these."""
        file = called_file(self.eqn.source_info.traceback)
        return any(part in file for part in parts)

    @property
    def context(self) -> Any:
        """A context in which JAX gives new equations the place of this one."""
        return source_info_util.user_context(self.traceback)

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
    """A primitive that an analysis had no rule for, where, and how often."""

    primitive: str
    place: Place
    count: int


class Program(NamedTuple):
    """A traced function, as a function of the arrays in its arguments.

    Leaves of arguments or results that are not arrays (an activation function in an
    Equinox module, a name, a flag) belong to the program itself.
    """

    closed: Closed
    values: list[Any]  # the arrays that it was traced at, operands of `closed`
    result: Callable[[Sequence[Any]], Any]  # what the function returns, from outputs


def trace(fun: Callable, *args: Any, **kwargs: Any) -> Program:
    """Trace `fun` at `args`, arrays or `ShapeDtypeStruct`s; nothing is computed."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    traced = [isinstance(leaf, (*ARRAYS, jax.ShapeDtypeStruct)) for leaf in leaves]
    returned: dict[str, Any] = {}

    def flat(*values: Any) -> list[Any]:
        rest = iter(values)
        filled = [next(rest) if t else x for t, x in zip(traced, leaves, strict=True)]
        args, kwargs = jax.tree.unflatten(tree, filled)
        outs, returned["tree"] = jax.tree.flatten(fun(*args, **kwargs))
        returned["outs"] = [None if _is_value(out) else out for out in outs]
        returned["computed"] = [_is_value(out) for out in outs]
        return [out for out in outs if _is_value(out)]

    def result(outs: Sequence[Any]) -> Any:
        rest = iter(outs)
        filled = [
            next(rest) if computed else out
            for computed, out in zip(
                returned["computed"], returned["outs"], strict=True
            )
        ]
        return jax.tree.unflatten(returned["tree"], filled)

    values = [leaf for leaf, t in zip(leaves, traced, strict=True) if t]
    return Program(jax.make_jaxpr(flat)(*values), values, result)


ARRAYS = (jax.Array, np.ndarray, np.generic)


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, (*ARRAYS, bool, int, float, complex))


def evaluate(
    closed: Closed,
    args: Sequence[Any],
    *,
    lift: Callable[[Any], Any],
    rules: Rules,
    default: Callable[..., Any],
    unseen: Counter | None = None,
    around: Equation | None = None,
    body: int = 0,
) -> list[Any]:
    """Evaluate a program under another interpretation; see the module docstring.

    A rule gets the `Equation` and the values of its operands, and returns one value, or
    a list where the primitive has several results; or `NotImplemented`, and then it is
    as if there were no rule. `unseen` counts what went to `default`; read it with
    `not_analysed`. `around` is the equation whose body this is, the one with the number
    `body` in `bodies(around.control)`: it lends its place to equations that have none of
    their own, and its address to all.
    """
    jaxpr = closed.jaxpr
    env = dict(zip(jaxpr.constvars, map(lift, closed.consts), strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return lift(atom.val) if isinstance(atom, core.Literal) else env[atom]

    for number, eqn in enumerate(jaxpr.eqns):
        equation = describe(eqn, around, (body, number))
        values = [read(atom) for atom in eqn.invars]
        rule = rules.get(eqn.primitive) or rules.get(eqn.primitive.name)
        rule = rule or rules.get(type(equation.control))
        out = NotImplemented
        try:
            with equation.context:
                if rule is not None:
                    out = rule(equation, *values)
                if out is NotImplemented and isinstance(equation.control, Call):
                    out = evaluate(
                        equation.control.body,
                        values,
                        lift=lift,
                        rules=rules,
                        default=default,
                        unseen=unseen,
                        around=equation,
                    )
                elif out is NotImplemented:
                    if unseen is not None:
                        unseen[eqn.primitive.name, equation.place] += 1
                    out = default(equation, *values)
        except Exception as error:
            if equation.place != NOWHERE:
                error.add_note(f"in `{equation.name}` at {equation.place}")
            raise
        outs = out if isinstance(out, list) else [out]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def not_analysed(unseen: Counter) -> tuple[NotAnalysed, ...]:
    """What `evaluate` counted in `unseen`, most frequent first."""
    common = unseen.most_common()
    return tuple(NotAnalysed(name, place, n) for (name, place), n in common)


def equations(
    closed: Closed, around: Equation | None = None, body: int = 0
) -> Iterator[Equation]:
    """Every equation of a program, outermost first, and those inside of it."""
    for number, eqn in enumerate(closed.jaxpr.eqns):
        equation = describe(eqn, around, (body, number))
        yield equation
        for inner, closed_inner in enumerate(bodies(equation.control)):
            yield from equations(closed_inner, equation, inner)


def uses(closed: Closed, name: str) -> bool:
    """Whether a primitive of this name stands in a program, at any depth."""
    for eqn in closed.jaxpr.eqns:
        if eqn.primitive.name == name:
            return True
        for value in jax.tree.leaves(tuple(eqn.params.values()), is_leaf=_is_program):
            if _is_program(value) and uses(_closed(value), name):
                return True
    return False


def _is_program(value: Any) -> bool:
    return isinstance(value, core.ClosedJaxpr | core.Jaxpr)


def is_float(x: Any) -> bool:
    """Whether an array or an abstract value holds floats or complex numbers."""
    dtype = getattr(x, "dtype", None)
    if dtype is None or jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return False
    return bool(jax.numpy.issubdtype(dtype, np.inexact))


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


def describe(
    eqn: core.JaxprEqn, around: Equation | None = None, at: tuple[int, ...] = ()
) -> Equation:
    """The equation with its place in the user's source and its control flow read.

    `at` is the number of the body of `around` that it is in, and its number there.
    """
    traceback = eqn.source_info.traceback
    place, own = place_of(traceback)
    path: tuple[str, ...] = ()
    if around is not None:
        path = (*around.path, around.name)
        if not own and around.place != NOWHERE:
            place, traceback = around.place, around.traceback
    address = (*around.address, *at) if around is not None else at
    return Equation(eqn, place, path, control_of(eqn), traceback, address)


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
    "composite": "call",
}
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # where those keep the called function


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
        inner = next((params[k] for k in BODIES if k in params), None)
        if inner is not None and len(_closed(inner).jaxpr.invars) == len(eqn.invars):
            body = _closed(inner)
            called = str(params.get("name") or _function_name(body))
            return Call(CALLS[name], called, body, _wrap(CALLS[name], params))
    return None


def _wrap(kind: str, params: Mapping[str, Any]) -> Callable[[Callable], Callable]:
    """For `remat`, the same `jax.checkpoint`; else the function as it is."""
    if kind != "remat":
        return lambda fun: fun
    options = {"prevent_cse": params["prevent_cse"], "policy": params["policy"]}
    return functools.partial(jax.checkpoint, **options)


def literals(equation: Equation) -> tuple[float | None, ...]:
    """The operands of an equation that are real numbers written in the program."""

    def number(atom: Any) -> float | None:
        if not isinstance(atom, core.Literal) or np.size(atom.val) != 1:
            return None
        return float(atom.val) if np.isrealobj(np.asarray(atom.val)) else None

    return tuple(map(number, equation.eqn.invars))


def as_function(closed: Closed) -> Callable[..., list[Any]]:
    """A program as a function of its operands."""
    return core.jaxpr_as_fun(closed)


def rebindable(equation: Equation) -> bool:
    """Whether `rebind` can give the equation other bodies."""
    if isinstance(equation.control, Cond):
        return not equation.params.get("branches_platforms")
    return equation.control is not None


def rebind(equation: Equation, programs: Sequence[Closed], *values: Any) -> list[Any]:
    """Run an equation of control flow with other bodies of the same types."""
    funs = [core.jaxpr_as_fun(program) for program in programs]
    control = equation.control
    with equation.eqn.ctx.manager:
        match control:
            case Call():
                return list(control.wrap(funs[0])(*values))
            case Scan():
                return _scan(control, funs[0], values)
            case While():
                tests, consts, carry = control.split(values)
                out = jax.lax.while_loop(
                    lambda state: funs[0](*tests, *state)[0],
                    lambda state: tuple(funs[1](*consts, *state)),
                    tuple(carry),
                )
                return list(out)
            case Cond():
                index, *operands = values
                branches = [lambda *xs, f=f: tuple(f(*xs)) for f in funs]
                return list(jax.lax.switch(index, branches, *operands))
    raise TypeError(f"`{equation.name}` has no bodies")


def _scan(control: Scan, fun: Callable, values: Sequence[Any]) -> list[Any]:
    consts, carry, sequences = control.split(values)

    def step(state: Any, x: Any) -> Any:
        outs = fun(*consts, *state, *x)
        return tuple(outs[: control.num_carry]), tuple(outs[control.num_carry :])

    state, ys = jax.lax.scan(
        step,
        tuple(carry),
        tuple(sequences),
        length=control.length,
        reverse=control.reverse,
        unroll=control.unroll,
    )
    return [*state, *ys]


def bind_wide(equation: Equation, *values: Any) -> list[Any]:
    """Run an ordinary equation in float64: dtypes among its parameters are widened."""
    params = {
        name: jax.numpy.float64 if _is_float_type(value) else value
        for name, value in equation.eqn.params.items()
    }
    out = equation.eqn.primitive.bind(*values, **params)
    return list(out) if equation.eqn.primitive.multiple_results else [out]


def _is_float_type(value: Any) -> bool:
    if not isinstance(value, (np.dtype, type)):
        return False
    try:
        return jax.numpy.issubdtype(np.dtype(value), np.floating)
    except TypeError:
        return False


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


# -- Where in the user's source --------------------------------------------------------


LIBRARIES = (
    "jax",
    "jaxlib",
    "equinox",
    "flax",
    "optax",
    "jaxtyping",
    "beartype",
    "haiku",
)
OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
CALLERS = ("core", "training", "learning", "checkup", "curvature", "cli", "frontends")
STANDARD = os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep
TYPED = ("<stdin>", "<string>", "<ipython")  # code that has no file


def place_of(traceback: Any) -> tuple[Place, bool]:  # jaxlib's Traceback, or None
    """The innermost line of a traceback that is the user's, and True.

    A function that JAX traced on its own (`jax.nn.silu` is jitted) has no such line:
    `NOWHERE` and False, and the equation that calls it lends its own. Our rooms that
    are part of programs (`nn`, `problems`) speak only where no user's line does, and
    the search ends at those that call programs (`training`, `checkup`): whoever called
    them did not write the program.
    """
    return (NOWHERE, False) if traceback is None else _place_of(traceback)


@functools.lru_cache(maxsize=8192)
def _place_of(traceback: Any) -> tuple[Place, bool]:
    guest = NOWHERE
    for frame in traceback.frames:
        kind = kind_of(frame.file_name)
        if kind == "caller":
            break
        if kind == "library" or _generated(frame):
            continue
        place = Place(frame.file_name, frame.line_num, frame.function_name)
        if kind == "user":
            return place, True
        guest = place if guest == NOWHERE else guest
    return guest, False


def _generated(frame: Any) -> bool:
    """Whether a frame is of a method that `dataclasses` or `collections` wrote."""
    name = frame.function_name.rpartition(".")[2]
    return frame.file_name == "<string>" and name in ("__init__", "__new__")


@functools.lru_cache(maxsize=8192)
def library_of(traceback: Any) -> tuple[str, ...]:
    names: list[str] = []
    for frame in traceback.frames if traceback is not None else ():
        if kind_of(frame.file_name) != "library":
            break
        names.insert(0, frame.function_name)
    return tuple(names)


@functools.lru_cache(maxsize=8192)
def called_file(traceback: Any) -> str:
    """The file of the outermost library function between the user and an equation."""
    file = ""
    for frame in traceback.frames if traceback is not None else ():
        if kind_of(frame.file_name) != "library":
            break
        file = frame.file_name
    return file.replace(os.sep, "/")


@functools.lru_cache(maxsize=8192)
def kind_of(file: str) -> str:
    """Whose a file is: "user", "library", "guest" (part of programs) or "caller"."""
    if file.startswith("<"):
        return "user" if file.startswith(TYPED) else "library"
    if file.startswith(OURS):
        room = file[len(OURS) :].split(os.sep)[0]
        return "caller" if room in CALLERS else "guest"
    for packages in ("site-packages", "dist-packages"):
        _, found, rest = file.rpartition(f"{os.sep}{packages}{os.sep}")
        if found:
            return "library" if rest.split(os.sep)[0] in LIBRARIES else "user"
    return "library" if file.startswith(STANDARD) else "user"
