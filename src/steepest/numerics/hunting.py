"""Hunting for bugs that do not crash: is a gradient rounded to zero?

Two tests of a loss, each a sentence of Goodfellow's lecture made into a program:

- *Raise the step size.* With steps that are too large a right loss explodes. If it gets
  stuck instead, at a value that is not small and with a gradient that is exactly zero,
  some gradient was probably rounded to zero: `raise_step_size`.
- *Scale the logits.* Where a classifier is sure and wrong, the loss is large and its
  gradient must not vanish. Cross-entropy of probabilities loses it where the softmax
  saturates: `scale`, `scale_logits`.

A gradient that is zero in the program's format is asked once more in float64. If it is
not zero there it was *rounded* to zero, and the operation to blame is the first on the
way to the gradient whose result is 0 in all elements and not 0 in float64. If it is
zero in float64 too, the loss is *flat* there, by a clip, a rectifier that is off or a
saturation beyond float64, and the operation is the first that makes zeros of what is
not zero.

References
    Goodfellow (2017), Numerical Computation for Deep Learning.
"""

import html
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import jaxpr
from ..core.errors import InputError, type_name
from ._locate import Origin, locate_in_loss
from .shadowing.zeros import Zeroed, where_zero


RATES = tuple(10.0**k for k in range(-3, 7))
FACTORS = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
STEPS = 5
#: What is infinite at a point of finite operands, however small the loss was before.
POLES = frozenset(("log", "log1p", "div", "rsqrt", "pow", "integer_pow", "atanh"))


class Trial(NamedTuple):
    """What happened with one step size, or one factor."""

    size: float
    losses: tuple[float, ...]
    gradient_norm: float  # of the last step

    @property
    def last(self) -> float:
        return self.losses[-1]


class Hunt(NamedTuple):
    """The outcome of a test."""

    verdict: str  # "explodes", "converges", "stuck", "not finite" or "sound"
    sentence: str
    trials: tuple[Trial, ...]
    zeroed: Zeroed | None = None  # where the gradient vanished, if it did
    origin: Origin | None = None  # the first operation that was not finite

    @property
    def suspicious(self) -> bool:
        """Whether the test found something to look at."""
        return self.verdict in ("stuck", "not finite")

    def __str__(self) -> str:
        head = f"{'size':>10}  {'first loss':>12}  {'last loss':>12}  {'gradient':>12}"
        rows = [
            f"{t.size:>10.3g}  {t.losses[0]:>12.5g}  {t.last:>12.5g}  "
            f"{t.gradient_norm:>12.5g}"
            for t in self.trials
        ]
        return "\n".join([f"{self.verdict}: {self.sentence}", "", head, *rows])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def raise_step_size(
    loss: Callable[..., Any],
    params: PyTree,
    *args: Any,
    rates: Sequence[float] = RATES,
    steps: int = STEPS,
) -> Hunt:
    """Gradient descent on `loss(params, *args)` with larger and larger steps.

    "explodes": at the largest steps the loss grew, as that of a right loss does.
    "stuck": at some step size the gradient became exactly zero, and the loss is worse
    than what smaller steps reached, or the zero was made by rounding. "not finite": the
    loss became NaN, or infinite at a pole such as log(0), before it had become large.
    "converges": it went down with every step size.
    """
    values, gradient = prepared(loss, params, args)
    if steps < 1 or not rates or not all(r > 0 for r in rates):
        raise InputError("`rates` are positive step sizes, and `steps` at least 1.")
    trials: list[Trial] = []
    stuck: tuple[Trial, list[Any]] | None = None
    broken: tuple[Trial, Origin | None] | None = None
    for rate in sorted(float(r) for r in rates):
        trial, here = descend(gradient, values, rate, steps)
        trials.append(trial)
        if trial.gradient_norm == 0 and stuck is None:
            stuck = trial, here
        elif broken is None and not np.isfinite(trial.last):
            origin = None if grew(trial.losses[:-1]) else gradient.origin(here)
            at_pole = origin is not None and origin.primitive in POLES
            if at_pole or (np.isnan(trial.last) and not grew(trial.losses[:-1])):
                broken = trial, origin
    best = min(
        (min(t.losses) for t in trials if np.isfinite(t.losses).all()), default=0
    )
    spread = abs(trials[0].losses[0] - best)
    zeroed = None if stuck is None else where_zero(gradient.program, stuck[1])
    if stuck is not None and _stuck(stuck[0], zeroed, best, spread):
        trial, here = stuck
        said = (
            f"with steps of {trial.size:g} the gradient is exactly zero at a loss of "
            f"{trial.last:.4g}"
        )
        if trial.last > best + 0.1 * spread:
            said += f", though {best:.4g} can be reached"
        return Hunt(
            "stuck",
            f"{said}; {zeroed}." if zeroed else f"{said}.",
            tuple(trials),
            zeroed,
        )
    if broken is not None:
        trial, origin = broken
        became = "NaN" if np.isnan(trial.last) else "infinite"
        said = (
            f"with steps of {trial.size:g} the loss becomes {became} before it is large"
        )
        said += f": {origin.sentence}." if origin else "."
        return Hunt("not finite", said, tuple(trials), origin=origin)
    first = next((t for t in trials if grew(t.losses)), None)
    if first is not None:
        said = f"from steps of {first.size:g} on the loss grows, as it should"
        return Hunt("explodes", f"{said}.", tuple(trials))
    return Hunt("converges", "the loss went down with every step size.", tuple(trials))


def _stuck(trial: Trial, zeroed: Zeroed | None, best: float, spread: float) -> bool:
    """Whether a gradient of zero is no minimum.

    Smaller steps reached less; or the zero was made by rounding, at a loss that is not
    small.
    """
    if trial.last > best + 0.1 * spread + 1e-6 * abs(best):
        return True
    rounded = zeroed is not None and zeroed.rounded
    return rounded and trial.last > 1e-3 * max(abs(trial.losses[0]), 1e-30)


def scale(
    loss: Callable[..., Any],
    params: PyTree,
    *args: Any,
    factors: Sequence[float] = FACTORS,
) -> Hunt:
    """`loss(params, *args)` and its gradient with all of `params` times a factor.

    "stuck": the gradient is exactly zero while the loss is no smaller than without a
    factor. "not finite": the loss or its gradient is NaN or infinite. "sound": neither.
    """
    values, gradient = prepared(loss, params, args)
    if not factors or not all(np.isfinite(f) for f in factors):
        raise InputError("`factors` are finite numbers, at least one.")
    usual, _ = gradient(values)
    trials: list[Trial] = []
    stuck: Hunt | None = None
    for factor in sorted(float(f) for f in factors):
        here = [
            gradient.moved(v, v * jnp.asarray(factor, v.dtype), i)
            for i, v in enumerate(values)
        ]
        value, slopes = gradient(here)
        trials.append(Trial(factor, (value,), norm(slopes)))
        bad = not (np.isfinite(value) and np.isfinite(trials[-1].gradient_norm))
        if bad:
            origin = gradient.origin(here)
            said = (
                f"at {factor:g} times the values the loss or its gradient is not finite"
            )
            said += f": {origin.sentence}." if origin else "."
            return Hunt("not finite", said, tuple(trials), origin=origin)
        flat = trials[-1].gradient_norm == 0 and value > 0.5 * abs(usual) and value > 0
        if flat and stuck is None:
            zeroed = where_zero(gradient.program, here)
            said = (
                f"at {factor:g} times the values the loss is {value:.4g} and its "
                "gradient exactly zero"
            )
            stuck = Hunt(
                "stuck", f"{said}; {zeroed}." if zeroed else f"{said}.", (), zeroed
            )
    if stuck is not None:
        return stuck._replace(trials=tuple(trials))
    return Hunt(
        "sound", "where the loss is large its gradient is not zero.", tuple(trials)
    )


def scale_logits(
    loss: Callable[..., Any],
    logits: PyTree,
    *args: Any,
    factors: Sequence[float] = FACTORS,
) -> Hunt:
    """`scale` for a loss of logits, `loss(logits, targets)`, at logits that are wrong.

    Give logits of which some are far from their targets: a classifier that is right
    and sure has a small loss, whose gradient may vanish.
    """
    return scale(loss, logits, *args, factors=factors)


# -- The loss and its gradient --------------------------------------------------------


class Gradient(NamedTuple):
    """Value and gradient of a loss as a function of flat parameters."""

    run: Callable[..., Any]
    program: jaxpr.Closed
    real: tuple[bool, ...]
    locate: Callable[..., Origin | None]

    def __call__(self, values: Sequence[Any]) -> tuple[float, list[Any]]:
        value, *slopes = self.run(*values)
        return float(value), slopes

    def moved(self, old: Any, new: Any, i: int) -> Any:
        return new if self.real[i] else old

    def origin(self, values: Sequence[Any]) -> Origin | None:
        return self.locate(values)


def prepared(
    loss: Callable[..., Any], params: PyTree, args: Sequence[Any]
) -> tuple[list[Any], Gradient]:
    if not callable(loss):
        raise InputError(f"The test is of a loss; {type_name(loss)} came.")
    leaves, tree = jax.tree.flatten(params)
    arrays = [isinstance(x, (*jaxpr.ARRAYS, float)) for x in leaves]
    values = [jnp.asarray(x) for x, a in zip(leaves, arrays, strict=True) if a]
    real = tuple(bool(jnp.issubdtype(v.dtype, jnp.floating)) for v in values)
    if not any(real):
        raise InputError("The parameters hold no floats, so there is no gradient.")

    def flat(*values: Any) -> Any:
        rest = iter(values)
        filled = [next(rest) if a else x for x, a in zip(leaves, arrays, strict=True)]
        return loss(jax.tree.unflatten(tree, filled), *args)

    shape = jax.eval_shape(flat, *values)
    if isinstance(shape, tuple):
        raise InputError(
            f"The loss returns {len(shape)} values and has to return one number; give "
            "a function that returns the loss alone."
        )
    if getattr(shape, "shape", None) != ():
        raise InputError("The loss has to return one number; take the mean or the sum.")
    by = tuple(i for i, r in enumerate(real) if r)

    def both(*values: Any) -> list[Any]:
        value, slopes = jax.value_and_grad(flat, by)(*values)
        return [value, *slopes]

    def locate(values: Sequence[Any]) -> Origin | None:
        def of_real(chosen: Any) -> Any:
            rest = iter(chosen)
            filled = [next(rest) if r else v for v, r in zip(values, real, strict=True)]
            return flat(*filled)

        return locate_in_loss(
            of_real, [v for v, r in zip(values, real, strict=True) if r]
        )

    closed = jax.make_jaxpr(both)(*values)
    return values, Gradient(jax.jit(both), closed, real, locate)


def descend(
    gradient: Gradient, values: Sequence[Any], rate: float, steps: int
) -> tuple[Trial, list[Any]]:
    """Steps of one size; where they end."""
    here, losses = list(values), []
    for k in range(steps + 1):
        value, slopes = gradient(here)
        losses.append(value)
        size = norm(slopes)
        if k == steps or not np.isfinite(value) or size == 0:
            return Trial(rate, tuple(losses), size), here
        rest = iter(slopes)
        here = [
            v - jnp.asarray(rate, v.dtype) * next(rest) if r else v
            for v, r in zip(here, gradient.real, strict=True)
        ]
    raise AssertionError


def norm(slopes: Sequence[Any]) -> float:
    """The largest element: exactly 0 only if all are."""
    parts = [np.abs(np.asarray(g, np.float64)).max(initial=0.0) for g in slopes]
    return float(np.max(parts, initial=0.0))


def grew(losses: Sequence[float]) -> bool:
    """Whether a loss is larger than at the start, or infinite."""
    if not losses:
        return False
    first, last = losses[0], losses[-1]
    worst = max((v for v in losses if not np.isnan(v)), default=first)
    return bool(worst > first + 0.1 * abs(first) or last == np.inf)
