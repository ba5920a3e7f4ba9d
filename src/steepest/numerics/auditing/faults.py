"""From what a run showed to what is said of it.

For each operation to blame: its mildest witness, what it met there, and what the exact
result would be, which tells a defect from a pole of the function and from a result that
is too large for the format.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...core import jaxpr
from ..intervals import Candidate
from .events import Address, Seen
from .finding import ORDER, Fault
from .points import Point
from .search import Clock, Failure, Tried, floats
from .sides import Side
from .specs import Question
from .truth import Truth
from .witness import milder


def confirmed(
    side: Side,
    number: int,
    failures: Sequence[Failure],
    tried: Tried,
    truth: Truth,
    compiled: Callable[..., Any],
    question: Question,
    clock: Clock,
) -> Fault:
    """A finding with its mildest witness, and what the exact result would be."""
    equation = side.watch.equations[number]

    def fails(point: Point) -> bool:
        seen = side.watch.run(*point)
        return any(seen.origins[i] == number + 1 for i in side.outputs)

    best: tuple[Any, ...] | None = None
    for failure in failures[:4]:
        point = failure.point
        if tried.fine and clock.left() > 0:
            point = milder(fails, tried.fine[0].point, point, side.boxes)
        seen = side.watch.run(*point)
        verdict, computed, exact = judge(side, seen, truth(point))
        if best is None or ORDER.index(verdict) < ORDER.index(best[0]):
            best = (verdict, point, computed, exact)
        clock.lap("witnesses", searching=True)
        if verdict == "defect" or clock.left() < 0:
            break
    assert best is not None
    verdict, point, computed, exact = best
    operands, outs = side.watch.run(*point).at[number]
    return Fault(
        operation=equation.primitive,
        place=equation.place,
        kind=kind_of(equation, operands, outs),
        where=side.where,
        mode=mode_of(side, point, compiled),
        verdict=verdict,
        reaches_output=True,
        operands=culprits(operands, outs),
        witness=question.arguments(point),
        given=question.given,
        cotangent=cotangents(side, question, point),
        computed=computed,
        exact=exact,
        address=equation.address,
        path=equation.path,
    )


def judge(side: Side, seen: Seen, exact: Sequence[Any]) -> tuple[str, float, float]:
    """Whether the exact result exists and fits; the worst element of both."""
    best: tuple[str, float, float] | None = None
    for i in side.outputs:
        got = np.asarray(seen.outputs[i])
        value, true = floats(got).ravel(), np.asarray(exact[i], np.float64).ravel()
        bad = ~np.isfinite(value)
        if not bad.any():
            continue
        end = float(jnp.finfo(got.dtype).max)
        fits = bad & np.isfinite(true) & (abs(true) <= end)
        large = bad & ~np.isnan(true) & (abs(true) > end)
        chosen, verdict = (
            (fits, "defect")
            if fits.any()
            else (large, "range")
            if large.any() and truth_is_finite(exact[i], large)
            else (bad, "domain")
        )
        k = int(np.flatnonzero(chosen)[0])
        if best is None or ORDER.index(verdict) < ORDER.index(best[0]):
            best = (verdict, float(value[k]), float(true[k]))
    return best or ("domain", float("nan"), float("nan"))


def truth_is_finite(exact: Any, where: np.ndarray) -> bool:
    """Whether an exact value beyond float64 is a number (mpmath knows, float64 not)."""
    values = np.asarray(exact, dtype=object).ravel()[where]
    return all(not str(v).endswith("inf") for v in values[:16])


def mode_of(side: Side, point: Point, compiled: Callable[..., Any]) -> str:
    """Whether a failure that was seen eagerly is there under `jit` too."""
    outs = compiled(*map(jnp.asarray, point))
    fine = all(np.isfinite(floats(outs[i])).all() for i in side.outputs)
    return "eager" if fine else "both"


def kind_of(
    equation: jaxpr.Equation, operands: Sequence[np.ndarray], outs: Sequence[np.ndarray]
) -> str:
    """What went wrong, in a word."""
    name = equation.primitive
    values = [floats(x) for x in operands]
    bad_in = any(not np.isfinite(v).all() for v in values)
    nan_out = any(np.isnan(floats(x)).any() for x in outs)
    if name == "convert_element_type":
        return "cast"
    if name in ("div", "rem") and len(values) == 2:
        top, bottom = np.broadcast_arrays(*values)
        if nan_out:
            return "0/0" if ((top == 0) & (bottom == 0)).any() else "inf/inf"
        return "pole" if (bottom == 0).any() else "overflow"
    if nan_out and bad_in:
        return {"mul": "0*inf", "add": "inf-inf", "sub": "inf-inf"}.get(name, "invalid")
    if nan_out:
        return "domain" if name not in SUMS else "inf-inf"
    poles = name in POLES and any((signless(v) == POLES[name]).any() for v in values)
    return "pole" if poles else "overflow"


def signless(v: np.ndarray) -> np.ndarray:
    """−1 is as much a pole of atanh as 1 is; log1p has its own at −1."""
    return np.where(v == -1, 1.0, v)


SUMS = ("dot_general", "reduce_sum", "conv_general_dilated", "cumsum")
POLES = {
    "log": 0.0,
    "log1p": 1.0,  # `signless`: at −1; there is no fault at 1
    "rsqrt": 0.0,
    "integer_pow": 0.0,
    "pow": 0.0,
    "atanh": 1.0,
    "lgamma": 0.0,
    "digamma": 0.0,
    "erf_inv": 1.0,
}


def culprits(
    operands: Sequence[np.ndarray], outs: Sequence[np.ndarray]
) -> tuple[tuple[float, float], ...]:
    """The operands where the result is not finite: least and greatest of each."""
    bad = ~np.isfinite(floats(outs[0])) if outs else np.zeros((), bool)
    ranges = []
    for x in operands:
        v = floats(x)
        v = v[bad] if v.shape == bad.shape and bad.any() else v.ravel()
        if v.size:
            ranges.append((float(v.min()), float(v.max())))
    return tuple(ranges)


def cotangents(side: Side, question: Question, point: Point) -> Any:
    extra = point[len(question.boxes) :]
    return [jnp.asarray(x) for x in extra] if extra else None


def noted(
    side: Side, number: int, candidates: dict[Address, Candidate], verdict: str
) -> Fault:
    equation = side.watch.equations[number]
    candidate = candidates.get(equation.address)
    latent = verdict == "latent"
    kind = "headroom" if latent else candidate.kind if candidate else "invalid"
    return Fault(
        operation=equation.primitive,
        place=equation.place,
        kind=kind,
        where=side.where,
        mode="eager",
        verdict=verdict,
        reaches_output=False,
        operands=(),
        address=equation.address,
        path=equation.path,
    )


def possible(side: Side, candidate: Candidate) -> Fault:
    equation = candidate.equation
    return Fault(
        operation=equation.primitive,
        place=equation.place,
        kind=candidate.kind,
        where=side.where,
        mode="eager",
        verdict="possible",
        reaches_output=False,
        operands=tuple(candidate.operands),
        address=equation.address,
        path=equation.path,
    )
