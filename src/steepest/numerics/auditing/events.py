"""Which operation makes the first number that is not one, seen in a single run.

Run a program operation by operation, and let every value carry the number of the
equation that a NaN or an infinity in it comes from: 0 while it is finite. With o(x) for
the origin of x,

    o(y) = 0                      if y is finite,
           min { o(xᵢ) > 0 }      if an operand has an origin,                       (1)
           this equation          if not: here it is born,

so that an output that is not finite names the operation to blame, and one that is
finite acquits all: what was born and then masked by a `where` has reached nothing. In
a `where` only the cases that were chosen count. An infinity that comes in with an
argument or stands in the program as a constant is nobody's birth; a NaN made from it
is one. A birth in a loop belongs to the equation in the loop's body; a loop that ends
finite is not looked into.

Each operation is compiled by itself, once for all that have its shapes, so that a run
costs what an eager run does and starts at once: a single program that watches itself
would take minutes to compile where the network takes seconds.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ...core import jaxpr
from ...core.jaxpr import is_float as is_float
from ..shadowing.program import going_on


Address = tuple[int, ...]


class Seen(NamedTuple):
    """What one run showed."""

    outputs: list[Any]
    origins: list[int]  # for each output: 1 + number of the equation to blame, or 0
    born: set[int]  # numbers of the equations that made a NaN or an infinity
    room: dict[int, float]  # by number: bits from the largest result to the format's
    at: dict[int, "Met"]  # by number: what a birth came from


class Met(NamedTuple):
    """Operands and results of an equation, floats alone."""

    operands: list[np.ndarray]
    results: list[np.ndarray]


class Watch(NamedTuple):
    """A program to be run, and its equations in the order of their numbers."""

    run: Callable[..., Seen]  # run(*values, room=False)
    equations: list[jaxpr.Equation]
    plan: "Plan"


#: They move what they get: the origin moves along, and nothing is born.
MOVES = frozenset(
    [
        "broadcast_in_dim",
        "reshape",
        "squeeze",
        "expand_dims",
        "transpose",
        "copy",
        "copy_p",
        "slice",
        "rev",
        "stop_gradient",
        "optimization_barrier",
        "sharding_constraint",
        "device_put",
    ]
)


def watch(closed: jaxpr.Closed) -> Watch:
    """Prepare a program to be run, at many inputs, and to tell what was born where."""
    equations: list[jaxpr.Equation] = []
    plan = plan_of(closed, None, 0, equations)

    def run(*values: Any, room: bool = False) -> Seen:
        seen = Seen([], [], set(), {}, {})
        carried = [Carried(jnp.asarray(v), 0) for v in values]
        for out in execute(plan, carried, seen, room):
            seen.outputs.append(out.value)
            seen.origins.append(out.origin)
        return seen

    return Watch(run, equations, plan)


# -- A program as a list of steps -----------------------------------------------------


class Carried(NamedTuple):
    """A value, and the origin of what is not finite in it."""

    value: Any
    origin: int


class Step(NamedTuple):
    """One equation: where its operands stand, where its results go."""

    equation: jaxpr.Equation
    number: int  # in the list of equations, or −1 where nothing can be born
    bind: Callable[..., list[Any]]
    reads: list[int]
    writes: list[int]
    floats: list[bool]  # which results can fail to be finite
    bodies: list["Plan"]


class Plan(NamedTuple):
    """Steps over numbered slots."""

    size: int
    constants: list[tuple[int, Any]]
    inputs: list[int]
    steps: list[Step]
    outputs: list[int]


def plan_of(
    closed: jaxpr.Closed,
    around: jaxpr.Equation | None,
    body: int,
    equations: list[jaxpr.Equation],
) -> Plan:
    """Flatten a program, calls entered; loops and branches keep plans of their own."""
    slots = iter(range(1 << 60))
    constants: list[tuple[int, Any]] = []
    steps: list[Step] = []

    def constant(value: Any) -> int:
        slot = next(slots)
        constants.append((slot, jnp.asarray(value) if is_array(value) else value))
        return slot

    def enter(
        closed: jaxpr.Closed, inputs: list[int], around: Any, body: int
    ) -> list[int]:
        program = closed.jaxpr
        where = dict(zip(program.constvars, map(constant, closed.consts), strict=True))
        where.update(zip(program.invars, inputs, strict=True))

        def read(atom: Any) -> int:
            return constant(atom.val) if isinstance(atom, core.Literal) else where[atom]

        for number, eqn in enumerate(program.eqns):
            equation = jaxpr.describe(eqn, around, (body, number))
            reads = [read(atom) for atom in eqn.invars]
            if isinstance(equation.control, jaxpr.Call):
                writes = enter(equation.control.body, reads, equation, 0)
            else:
                writes = [next(slots) for _ in eqn.outvars]
                steps.append(step(equation, reads, writes, equations))
            where.update(zip(eqn.outvars, writes, strict=True))
        return [read(atom) for atom in program.outvars]

    inputs = [next(slots) for _ in closed.jaxpr.invars]
    outputs = enter(closed, inputs, around, body)
    return Plan(next(slots), constants, inputs, steps, outputs)


def is_array(value: Any) -> bool:
    return isinstance(value, (*jaxpr.ARRAYS, bool, int, float, complex))


def step(
    equation: jaxpr.Equation, reads: list[int], writes: list[int], equations: Any
) -> Step:
    floats = [is_float(aval) for aval in equation.outputs]
    control = equation.control
    number = -1
    if control is None and equation.primitive not in MOVES and any(floats):
        number = len(equations)
        equations.append(equation)
    plans = [
        plan_of(body, equation, i, equations)
        for i, body in enumerate(jaxpr.bodies(control))
    ]
    return Step(equation, number, equation.bind, reads, writes, floats, plans)


def execute(
    plan: Plan, values: Sequence[Carried], seen: Seen, room: bool
) -> list[Carried]:
    """Run a plan; births and headroom go to `seen`."""
    env: list[Any] = [None] * plan.size
    for slot, value in plan.constants:
        env[slot] = Carried(value, 0)
    for slot, value in zip(plan.inputs, values, strict=True):
        env[slot] = value
    for s in plan.steps:
        operands = [env[i] for i in s.reads]
        outs = (
            control(s, operands, seen, room)
            if s.bodies
            else ordinary(s, operands, seen, room)
        )
        for slot, out in zip(s.writes, outs, strict=True):
            env[slot] = out
    return [env[i] for i in plan.outputs]


def ordinary(s: Step, operands: list[Carried], seen: Seen, room: bool) -> list[Carried]:
    outs = s.bind(*(x.value for x in operands))
    if not any(s.floats):
        return [Carried(out, 0) for out in outs]
    good = [
        not may_fail or is_finite(out)
        for out, may_fail in zip(outs, s.floats, strict=True)
    ]
    if room and s.number >= 0:
        bits = min(headroom(o) for o, f in zip(outs, s.floats, strict=True) if f)
        seen.room[s.number] = min(bits, seen.room.get(s.number, np.inf))
    if all(good):
        return [Carried(out, 0) for out in outs]
    if s.equation.primitive == "select_n":
        origin = first(chosen(operands))
    else:
        origin = first(x.origin for x in operands)
    if s.number >= 0 and not origin and is_birth(operands, outs):
        seen.born.add(s.number)
        origin = s.number + 1
        arrays = ([x.value for x in operands], outs)
        seen.at[s.number] = Met(*map(floats_of, arrays))
    return [
        Carried(out, 0 if fine else origin)
        for out, fine in zip(outs, good, strict=True)
    ]


def floats_of(values: Sequence[Any]) -> list[np.ndarray]:
    return [np.asarray(x) for x in values if is_float(x)]


def is_birth(operands: Sequence[Carried], outs: Sequence[Any]) -> bool:
    """Not finite from what is, or NaN from what is no NaN."""
    if all(is_finite(x.value) for x in operands):
        return True
    return not any(has_nan(x.value) for x in operands) and any(map(has_nan, outs))


def chosen(operands: Sequence[Carried]) -> list[int]:
    """Origins of the cases of a `select_n` of which a bad element was chosen."""
    which, *cases = operands
    index = np.asarray(which.value).astype(int)
    return [
        case.origin
        for i, case in enumerate(cases)
        if not np.isfinite(np.asarray(case.value))[
            np.broadcast_to(index == i, np.shape(case.value))
        ].all()
    ]


def control(s: Step, operands: list[Carried], seen: Seen, room: bool) -> list[Carried]:
    """Loops and branches: as they are where all ends finite, else turn by turn."""
    values = [x.value for x in operands]
    outs = s.bind(*values)
    if not room and all(map(is_finite, outs)):
        return [Carried(out, 0) for out in outs]
    match s.equation.control:
        case jaxpr.Cond(branches):
            i = int(np.clip(int(values[0]), 0, len(branches) - 1))
            return execute(s.bodies[i], operands[1:], seen, room)
        case jaxpr.Scan() as loop:
            turns = scan(s, loop, operands, seen, room)
        case jaxpr.While() as loop:
            turns = repeat(s, loop, operands, seen, room)
        case _:
            raise NotImplementedError(s.equation.primitive)
    before = set(seen.born)
    origin = first(x.origin for x in operands)
    for _ in turns:
        if seen.born - before and not room:
            break
    origin = origin or first(number + 1 for number in seen.born - before)
    return [Carried(out, 0 if is_finite(out) else origin) for out in outs]


def scan(
    s: Step, loop: jaxpr.Scan, operands: list[Carried], seen: Seen, room: bool
) -> Iterator[None]:
    """Run a scan, one turn for each `next`."""
    consts, carry, xs = loop.split(operands)
    for t in range(loop.length)[:: -1 if loop.reverse else 1]:
        row = [Carried(x.value[t], x.origin) for x in xs]
        row = [
            x if x.origin and not is_finite(x.value) else Carried(x.value, 0)
            for x in row
        ]
        carry = execute(s.bodies[0], [*consts, *carry, *row], seen, room)[
            : loop.num_carry
        ]
        yield


def repeat(
    s: Step, loop: jaxpr.While, operands: list[Carried], seen: Seen, room: bool
) -> Iterator[None]:
    """Run a while loop, one turn for each `next`."""
    tests, consts, carry = loop.split(operands)
    while True:
        goes = execute(s.bodies[0], [*tests, *carry], seen, room)[0].value
        if not jnp.any(goes):
            return
        after = execute(s.bodies[1], [*consts, *carry], seen, room)
        if jnp.ndim(goes):  # many examples: those that have ended stay as they are
            after = [
                Carried(going_on(goes, x.value, old.value), x.origin)
                for x, old in zip(after, carry, strict=True)
            ]
        carry = after
        yield


def first(origins: Any) -> int:
    """The least of the origins that are not 0, or 0."""
    return min((o for o in origins if o), default=0)


def is_finite(x: Any) -> bool:
    return not is_float(x) or bool(np.isfinite(np.asarray(x)).all())


def has_nan(x: Any) -> bool:
    return is_float(x) and bool(np.isnan(np.asarray(x)).any())


def headroom(x: Any) -> float:
    """Bits between the largest finite magnitude and the end of the format."""
    if np.size(x) == 0 or jnp.issubdtype(x.dtype, jnp.complexfloating):
        return np.inf
    size = np.abs(np.asarray(x).astype(np.float64))
    largest = size.max(initial=0.0, where=np.isfinite(size))
    end = jnp.finfo(x.dtype).maxexp
    return float(end - np.log2(largest)) if largest > 0 else np.inf
