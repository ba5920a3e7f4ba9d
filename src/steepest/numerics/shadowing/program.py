"""A program evaluated on pairs: every value and, in float64, its shadow.

The program's own values are computed by its own equations. Decisions are its own too:
comparisons, indices and branches are taken by the shadow as the program takes them, so
that both compute the same expression.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ...core import jaxpr
from .errors import COLUMNS, EMPTY, Pair, greatest, paired, row_of, stacked
from .operations import Address, counts, is_float, operations
from .wide import run_wide, widened


Rows = dict[Address, Any]  # stacked rows


def shadow_program(
    closed: jaxpr.Closed, values: Sequence[Any]
) -> tuple[list[Any], list[Any], Any]:
    """Outputs, the wide run's outputs, and a row for each of `operations(closed)`.

    Can be traced: under `jit`, `vmap`. The rows are float64 of shape
    (operations, columns); `errors.COLUMNS` names the columns.
    """
    with jax.enable_x64(True):
        run = Run()
        outs = run.evaluate(closed, [paired(v) for v in values], None, 0)
        empty = stacked(EMPTY)
        rows = [run.rows.get(o.address, empty) for o in operations(closed)]
        table = jnp.stack(rows) if rows else jnp.zeros((0, len(COLUMNS)))
        return [o.native for o in outs], [o.wide for o in outs], table


class Run:
    """One evaluation, and the rows that it made."""

    def __init__(self) -> None:
        self.rows: Rows = {}

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
            wide = run_wide(equation, [x.wide for x in operands], natives, outs)
        if wide is None:
            wide = [widened(out) for out in outs]
        pairs = [
            Pair(n, w) if is_float(n) else Pair(n, n)
            for n, w in zip(outs, wide, strict=True)
        ]
        if counts(equation):
            self.rows[equation.address] = stacked(row_of(equation, operands, pairs))
        return pairs

    def inside(
        self, closed: jaxpr.Closed, values: Any, equation: Any, body: int = 0
    ) -> tuple[list[Pair], Rows]:
        inner = Run()
        outs = inner.evaluate(closed, values, equation, body)
        return outs, inner.rows

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

        def body(carry: Any, xs: Any) -> Any:
            values = [*consts, *_pairs(carry), *_pairs(xs)]
            outs, rows = self.inside(loop.body, values, equation)
            carry, ys = outs[: loop.num_carry], outs[loop.num_carry :]
            return _tuples(carry), (_tuples(ys), rows)

        carry, (ys, rows) = lax.scan(
            body,
            _tuples(carry),
            _tuples(xs),
            length=loop.length,
            reverse=loop.reverse,
        )
        if loop.length:
            self.rows |= {address: worst_turn(r) for address, r in rows.items()}
        return [*_pairs(carry), *_pairs(ys)]

    def loop(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        loop = equation.control
        tests, consts, carry = loop.split(operands)
        empty = {
            e.address: stacked(EMPTY)
            for e in jaxpr.equations(loop.body, equation, 1)
            if counts(e)
        }

        def go_on(state: Any) -> Any:
            values = [*tests, *_pairs(state[1])]
            return self.inside(loop.condition, values, equation)[0][0].native

        def body(state: Any) -> Any:
            turn, carry, worst = state
            values = [*consts, *_pairs(carry)]
            outs, rows = self.inside(loop.body, values, equation, 1)
            rows = {a: _at_turn(r, turn) for a, r in rows.items()}
            worst = {a: _worse(worst[a], rows.get(a, worst[a])) for a in worst}
            return turn + 1, _tuples(outs), worst

        start = (jnp.zeros((), jnp.int32), _tuples(carry), empty)
        _, carry, worst = lax.while_loop(go_on, body, start)
        self.rows |= worst
        return _pairs(carry)

    def cond(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        index, rest = operands[0].native, operands[1:]
        branches = equation.control.branches
        empty = {
            e.address: stacked(EMPTY)
            for i, branch in enumerate(branches)
            for e in jaxpr.equations(branch, equation, i)
            if counts(e)
        }

        def taken(i: int, branch: jaxpr.Closed) -> Callable[..., Any]:
            def run(*values: Any) -> Any:
                outs, rows = self.inside(branch, _pairs(values), equation, i)
                return _tuples(outs), {**empty, **rows}

            return run

        chosen = lax.convert_element_type(index, jnp.int32)
        bodies = [taken(i, branch) for i, branch in enumerate(branches)]
        outs, rows = lax.switch(chosen, bodies, *_tuples(rest))
        self.rows |= rows
        return _pairs(outs)


def _tuples(pairs: Sequence[Pair]) -> list[tuple[Any, ...]]:
    """What is no float is carried once."""
    return [tuple(p) if is_float(p.native) else (p.native,) for p in pairs]


def _pairs(tuples: Sequence[tuple[Any, ...]]) -> list[Pair]:
    return [Pair(t[0], t[-1]) for t in tuples]


def worst_turn(rows: Any) -> Any:
    """Of rows (turns, columns), that of the turn with the greatest error."""
    i = COLUMNS["decisions"]
    _, turn = greatest(rows[:, COLUMNS["error"]])
    worst = lax.dynamic_index_in_dim(rows, turn, keepdims=False)
    return _at_turn(worst, turn).at[i].set(rows[:, i].sum())


def _at_turn(row: Any, turn: Any) -> Any:
    i = COLUMNS["turn"]
    turn = lax.convert_element_type(turn, row.dtype)
    return row.at[i].set(jnp.where(row[i] < 0, turn, row[i]))


def _worse(a: Any, b: Any) -> Any:
    i = COLUMNS["error"]
    return jnp.where((b[i] > a[i]) | (a[COLUMNS["ran"]] == 0), b, a)
