"""The oracle of bounds: the program run operation by operation, every value kept."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from steepest.core import jaxpr
from steepest.numerics.intervals import Analysis


class Step(NamedTuple):
    """One equation that was computed."""

    equation: jaxpr.Equation
    operands: list[Any]
    results: list[Any]


def steps(closed: jaxpr.Closed, values: Sequence[Any]) -> list[Step]:
    """Every equation of a run, those in loops once for each turn."""
    seen: list[Step] = []

    def run(program: Any, operands: Any, around: Any, body: int) -> list[Any]:
        return jaxpr.evaluate(
            program,
            operands,
            lift=lambda x: x,
            rules={jaxpr.Scan: scan, jaxpr.While: repeat, jaxpr.Cond: branch},
            default=step,
            around=around,
            body=body,
        )

    def step(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        results = equation.bind(*operands)
        seen.append(Step(equation, list(operands), results))
        return results

    def scan(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        loop = equation.control
        consts, carry, xs = loop.split(operands)
        rows: list[Any] = []
        for t in range(loop.length)[:: -1 if loop.reverse else 1]:
            at = [x[t] for x in xs]
            outs = run(loop.body, [*consts, *carry, *at], equation, 0)
            carry = outs[: loop.num_carry]
            rows.append(outs[loop.num_carry :])
        rows = rows[:: -1 if loop.reverse else 1]
        results = [*carry, *map(jnp.stack, zip(*rows, strict=True))]
        seen.append(Step(equation, list(operands), results))
        return results

    def repeat(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        loop = equation.control
        tests, consts, carry = loop.split(operands)
        while bool(run(loop.condition, [*tests, *carry], equation, 0)[0]):
            carry = run(loop.body, [*consts, *carry], equation, 1)
        return carry

    def branch(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        branches = equation.control.branches
        i = int(np.clip(int(operands[0]), 0, len(branches) - 1))
        return run(branches[i], operands[1:], equation, i)

    run(closed, [jnp.asarray(v) for v in values], None, 0)
    return seen


def violations(analysis: Analysis, seen: Sequence[Step]) -> list[str]:
    """What the run shows against the two promises of `analyse`."""
    candidates = {c.equation.address for c in analysis.candidates}
    blind = {n.primitive for n in analysis.not_analysed}
    wrong = []
    for equation, operands, results in seen:
        name = equation.primitive
        ranges = analysis.results.get(equation.address, ())
        for r, value in zip(ranges, results, strict=False):
            if real(value) and not r.holds(value):
                wrong.append(f"{name}: {extent(value)} outside [{r.least}, {r.most}]")
        excused = equation.address in candidates or name in blind
        excused = excused or equation.control is not None  # its body tells
        if births(operands, results) and not excused:
            wrong.append(f"{name} of {list(map(extent, operands))} was acquitted")
    return wrong


def births(operands: Sequence[Any], results: Sequence[Any]) -> bool:
    """Whether something not finite comes of finite, or NaN of what is not NaN."""
    before = [floats(x) for x in operands if real(x)]
    after = [floats(x) for x in results if real(x)]
    finite = all(np.isfinite(x).all() for x in before)
    clean = not any(np.isnan(x).any() for x in before)
    new = finite and not all(np.isfinite(x).all() for x in after)
    return new or (clean and any(np.isnan(x).any() for x in after))


def real(x: Any) -> bool:
    dtype = jnp.result_type(x)
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    return any(jax.dtypes.issubdtype(dtype, kind) for kind in kinds)


def floats(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def extent(x: Any) -> str:
    if not real(x):
        return str(jnp.result_type(x))
    v = floats(x)
    return f"[{v.min():.9g}, {v.max():.9g}]" if v.size else "[]"
