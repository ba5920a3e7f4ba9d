"""A program evaluated on pairs: every value and, in float64, its shadow.

The program's own values are computed by its own equations. Decisions are its own too:
comparisons, indices and branches are taken by the shadow as the program takes them, so
that both compute the same expression.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from ...core import jaxpr
from .errors import COLUMNS, Pair, Probe, assemble, decided, paired, probe, rows_of
from .operations import STEPS, Address, counts, is_float, operations
from .wide import run_wide, widened


Rows = list[tuple[tuple[Address, ...], Any]]  # matrices, and whose rows they have


def shadow_program(
    closed: jaxpr.Closed, values: Sequence[Any], unseen: Counter | None = None
) -> tuple[list[Any], list[Any], Any]:
    """Outputs, the wide run's outputs, and a row for each of `operations(closed)`.

    Can be traced: under `jit`, `vmap`. The rows are float64 of shape
    (operations, columns); `errors.COLUMNS` names the columns. `unseen` counts what
    could not be run in float64: the shadow goes on from the program's own values.
    """
    late = jax.config.read("jax_enable_x64")
    with in_float64():
        late = late or not tracing()
        run = Run(Counter() if unseen is None else unseen, late)
        outs = run.evaluate(closed, [paired(v) for v in values], None, 0)
        table = assemble(run.rows(), [o.address for o in operations(closed)])
        return [o.native for o in outs], [o.wide for o in outs], table


def tracing() -> bool:
    """Whether operations are now recorded, to be compiled later."""
    return isinstance(lax.full((), 0.0), Tracer)


@contextmanager
def in_float64() -> Iterator[None]:
    """JAX with float64, and with its own ways to promote whatever the user's are."""
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


class Run:
    """One evaluation, and the rows that it made. `late`: see `run_wide`."""

    def __init__(self, unseen: Counter, late: bool) -> None:
        self.unseen, self.late = unseen, late
        self.probes: list[Probe] = []
        self.ready: Rows = []

    def rows(self) -> Rows:
        return [*rows_of(self.probes), *self.ready]

    def evaluate(
        self,
        closed: jaxpr.Closed,
        values: Sequence[Pair],
        around: jaxpr.Equation | None,
        body: int,
    ) -> list[Pair]:
        return jaxpr.evaluate(
            closed,
            values,
            lift=paired,
            rules={
                jaxpr.Scan: self.scan,
                jaxpr.While: self.loop,
                jaxpr.Cond: self.cond,
                "custom_linear_solve": self.solve,
            },
            default=self.step,
            around=around,
            body=body,
        )

    def step(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        natives = [x.native for x in operands]
        outs = equation.bind(*natives)
        wide: list[Any] | None = None
        if any(map(is_float, outs)) and any(map(is_float, natives)):
            shadows = [x.wide for x in operands]
            wide = run_wide(equation, shadows, natives, outs, self.late)
            if wide is None and equation.primitive not in (*STEPS, "nextafter"):
                self.unseen[equation.primitive, equation.place] += 1
        if wide is None:
            wide = [widened(out) for out in outs]
        pairs = [
            Pair(n, w) if is_float(n) else Pair(n, n)
            for n, w in zip(outs, wide, strict=True)
        ]
        if counts(equation):
            seen = probe(equation, operands, pairs)
            if seen is not None:
                self.probes.append(seen)
            elif outs[0].size and not (
                is_float(outs[0]) and equation.primitive not in STEPS
            ):
                self.ready.append(decided(equation, operands, pairs[0]))
        return pairs

    def inside(
        self, closed: jaxpr.Closed, values: Any, equation: Any, body: int = 0
    ) -> tuple[list[Pair], Rows]:
        inner = Run(self.unseen, self.late)
        outs = inner.evaluate(closed, values, equation, body)
        return outs, inner.rows()

    def solve(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        """A linear system with derivatives of its own, by the method that it names."""
        lengths, bodies = equation.params["const_lengths"], equation.params["jaxprs"]
        start = lengths.matvec + lengths.vecmat
        consts = operands[start : start + lengths.solve]
        b = operands[sum(lengths) :]
        return self.evaluate(bodies.solve, [*consts, *b], equation, 0)

    def scan(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        loop = equation.control
        consts, carry, xs = loop.split(operands)
        order = counted(equation, loop.body)

        def body(carry: Any, xs: Any) -> Any:
            values = [*consts, *_pairs(carry), *_pairs(xs)]
            outs, rows = self.inside(loop.body, values, equation)
            carry, ys = outs[: loop.num_carry], outs[loop.num_carry :]
            return _tuples(carry), (_tuples(ys), assemble(rows, order))

        carry, (ys, rows) = lax.scan(
            body,
            _tuples(carry),
            _tuples(xs),
            length=loop.length,
            reverse=loop.reverse,
        )
        if loop.length:
            self.ready.append((order, worst_turn(rows)))
        return [*_pairs(carry), *_pairs(ys)]

    def loop(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        loop = equation.control
        tests, consts, carry = loop.split(operands)
        order = counted(equation, loop.body, 1)

        def go_on(state: Any) -> Any:
            return wanted(state[1]).any()

        def wanted(carry: Any) -> Any:
            """Of a loop over many examples, which of them go on."""
            values = [*tests, *_pairs(carry)]
            return self.inside(loop.condition, values, equation)[0][0].native

        def body(state: Any) -> Any:
            turn, carry, worst = state
            values = [*consts, *_pairs(carry)]
            outs, rows = self.inside(loop.body, values, equation, 1)
            worst = _worse(worst, _at_turn(assemble(rows, order), turn))
            after = _tuples(outs)
            if loop.condition.jaxpr.outvars[0].aval.ndim:
                after = jax.tree.map(partial(going_on, wanted(carry)), after, carry)
            return turn + 1, after, worst

        start = (jnp.zeros((), jnp.int32), _tuples(carry), assemble([], order))
        _, carry, worst = lax.while_loop(go_on, body, start)
        self.ready.append((order, worst))
        return _pairs(carry)

    def cond(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        index, rest = operands[0].native, operands[1:]
        branches = equation.control.branches
        order = tuple(
            a for i, branch in enumerate(branches) for a in counted(equation, branch, i)
        )

        def taken(i: int, branch: jaxpr.Closed) -> Callable[..., Any]:
            def run(*values: Any) -> Any:
                outs, rows = self.inside(branch, _pairs(values), equation, i)
                return _tuples(outs), assemble(rows, order)

            return run

        chosen = lax.convert_element_type(index, jnp.int32)
        bodies = [taken(i, branch) for i, branch in enumerate(branches)]
        outs, rows = lax.switch(chosen, bodies, *_tuples(rest))
        self.ready.append((order, rows))
        return _pairs(outs)


def going_on(wanted: Any, new: Any, old: Any) -> Any:
    """`new` in the examples of a loop that go on, `old` in those that have ended."""
    axes = tuple(range(wanted.ndim))
    return lax.select(lax.broadcast_in_dim(wanted, jnp.shape(new), axes), new, old)


def counted(
    around: jaxpr.Equation, closed: jaxpr.Closed, body: int = 0
) -> tuple[Address, ...]:
    """Addresses of the operations inside of a body."""
    return tuple(e.address for e in jaxpr.equations(closed, around, body) if counts(e))


def _tuples(pairs: Sequence[Pair]) -> list[tuple[Any, ...]]:
    """What is no float is carried once."""
    return [tuple(p) if is_float(p.native) else (p.native,) for p in pairs]


def _pairs(tuples: Sequence[tuple[Any, ...]]) -> list[Pair]:
    return [Pair(t[0], t[-1]) for t in tuples]


def worst_turn(rows: Any) -> Any:
    """Of rows (turns, operations, columns), for each operation that of its worst turn."""
    error, decisions = rows[:, :, COLUMNS["error"]], COLUMNS["decisions"]
    turns = jnp.arange(error.shape[0], dtype=jnp.int32)[:, None]
    worst = jnp.where(error == error.max(0), turns, error.shape[0] - 1).min(0)
    chosen = jnp.take_along_axis(rows, worst[None, :, None], 0)[0]
    chosen = chosen.at[:, decisions].set(rows[:, :, decisions].sum(0))
    return _at_turn(chosen, worst)


def _at_turn(rows: Any, turn: Any) -> Any:
    i = COLUMNS["turn"]
    return rows.at[:, i].set(jnp.where(rows[:, i] < 0, turn, rows[:, i]))


def _worse(a: Any, b: Any) -> Any:
    i, ran, decisions = (COLUMNS[c] for c in ("error", "ran", "decisions"))
    better = (b[:, i] > a[:, i]) | (a[:, ran] == 0)
    worse = jnp.where(better[:, None], b, a)
    return worse.at[:, decisions].set(a[:, decisions] + b[:, decisions])
