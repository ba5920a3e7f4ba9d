"""The curvature along a run, followed within a share of its time.

    watch = tracker(loss, budget=0.05, key=key)
    for step, batch in enumerate(batches):
        params, state = update(params, state, batch)
        seen = watch(step, params)             # None, but for a step now and then

Let L be the seconds of the loop so far, S those that measurements have taken, c the
seconds of a product and k the products that a reliable answer is expected to need. The
next measurement is due as soon as

    S + k c ≤ 0.6 b L,                                                       (1)

so that overhead S/L stays within the budget b whatever the pace of the loop: a product
that costs a step and a half leaves room for one in 50 steps, at b = 5 %. The rest is left
for what no clock here sees: a queue that was emptied, caches and threads that were put to
other use. On a small network that was half as much again as the measurement. The first
comes at the first call, on credit, and the loop pays it back before there is a second.
L runs on the tracker's own clock, between its calls; it waits for the parameters only
when it measures, and that wait is the loop's. Compilation is counted apart.

Each measurement starts where the last has ended and grows a Lanczos section until the
residual r of λ_max is below 5 % of it, or what the budget has saved is spent. If that
was not enough, `reliable` is False, and k is raised: the next comes later, with more
products. Otherwise k is what this one has needed. So the interval and the number of
products both adapt, and accuracy comes before the number of points.

The residual proves an eigenvalue, not that it is the largest: from a start along the old
top vector a direction that has overtaken it stays unseen until a random part has grown.
So half of every start is random, no measurement takes fewer than 6 products, and every
fourth takes 12, as the first does, however small its residual: a second look. Of 10⁵
directions one that overtook, by 5 or 10 % a measurement, was so found at once where the
others lay below a tenth of the largest (0 of 232 measurements reliable and more than 5 %
low; 44 with three products and a smaller random part, the worst by 37 %). Where the
others reach up to eight tenths it can be late: 11 of 232, the worst by 17 %. `reliable`
does not exclude that.

Trouble at the first call is an error. Later the loop comes first: whatever keeps a
measurement from being taken (parameters that were donated, another structure or dtype,
a preconditioner that is not positive) makes one of NaN, not reliable, and says why.

The values are those of the loss that is given, usually that of a fixed batch, and the
largest eigenvalue of a batch is on average above that of all data: `batch_interval`.

References
    Cohen et al. (2021), Gradient descent on neural networks typically occurs at the
    edge of stability.
    Schneider, Dangel & Hennig (2021), Cockpit: a practical debugging tool for the
    training of deep neural networks.
"""

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core.errors import InputError, in_short, type_name
from ._following import LEAST, PROBES, ROUND, ROWS, TOLERANCE, Course, course, follow
from ._refusals import canonical, check, check_diagonal
from .products import Params


FIRST = 12  # products of the first measurement, from a random direction
SETTLING = 2  # the call from which the loop's own programs have been compiled
RECENT = 5  # measurements whose cost is remembered
USED = 0.6  # of the budget
AGAIN = 4  # every so many measurements a second look, as long as the first


class Tracked(NamedTuple):
    """One measurement."""

    step: int
    highest: float  # the largest Ritz value: at most λ_max; NaN where H is not finite
    residual: float  # ‖Hv − highest·v‖: an eigenvalue lies as near
    lowest: float  # at least λ_min, so a negative one is proved; NaN if not asked for
    lowest_residual: float
    trace: float  # NaN if not asked for
    trace_error: float  # its standard error
    #: residual ≤ tolerance · |highest|: there is an eigenvalue so near. That there is no
    #: larger one is likely, by the random part of the start, but not proved.
    reliable: bool
    num_products: int  # Hessian-vector products that were spent
    seconds: float
    trouble: str = ""  # why there is no measurement, where there is none


class Writable(Protocol):
    """What series can be written into: a `Record`, for one."""

    def add(self, name: str, step: int, value: Any) -> None: ...


class Tracker:
    """What `tracker` returns. A class because it remembers, from call to call.

    **Attributes**

    - `history`: all measurements.
    - `loop_seconds`, `seconds`, `compile_seconds`: of the loop, of the measurements,
      and of their compilation, which the budget leaves out.
    """

    def __init__(
        self,
        loss: Callable[..., Float[Array, ""]],
        args: tuple[PyTree, ...],
        options: dict[str, Any],  # of `course`
        budget: float,
        preconditioner: Params | Callable[[], Params] | None,
        key: PRNGKeyArray,
    ) -> None:
        self.history: list[Tracked] = []
        self.seconds = self.compile_seconds = 0.0
        self._loss, self._args, self._options = loss, args, options
        self._budget, self._preconditioner, self._key = budget, preconditioner, key
        self._course: Course | None = None
        self._like: Params | None = None  # shapes that the parameters keep
        self._directions: tuple[Array, ...] = ()
        self._wanted = FIRST  # products for the ends that were needed lately
        self._rates: list[float] = []  # seconds a product, lately
        self._rate = self._price = 0.0  # c and k c of (1)
        self._visits, self._loop = 0, 0.0  # L until the last visit
        self._now = self._left = 0.0  # the last call; the end of the last visit
        self._due = -math.inf

    def __call__(self, step: int, params: Params) -> Tracked | None:
        """Measure, if it is due, after `step` updates; None if it is not.

        Raises `InputError` until the first measurement is made: for a loss that is not
        one floating-point number, parameters that are not floating-point arrays, were
        donated or belong to `jit`, a preconditioner that does not fit or is not
        positive, and a step that is no number. From then on nothing is raised: see
        `Tracked.trouble`.
        """
        # Most calls end here; whatever they did more would be an overhead of its own.
        now = self._now = perf_counter()
        return None if now < self._due else self._visit(step, params)

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else None
        found = f", λ_max {last.highest:.4g} at step {last.step}" if last else ""
        return (
            f"<tracker: {len(self.history)} measurements, overhead "
            f"{self.overhead:.1%} of {self.loop_seconds:.3g} s{found}>"
        )

    @property
    def loop_seconds(self) -> float:
        """Seconds of the loop so far, from the call on that finds it compiled."""
        since = self._now - self._left
        return self._loop + since if self._visits >= SETTLING else 0.0

    @property
    def overhead(self) -> float:
        """Seconds of the measurements ÷ seconds of the loop."""
        return self.seconds / self.loop_seconds if self.loop_seconds else 0.0

    def record(self, record: Writable) -> None:
        """Write the whole history into a record, as series of `sharpness`.

        With a preconditioner they are those of `sharpness.preconditioned`.
        """
        name = "sharpness"
        if self._preconditioner is not None:
            name += ".preconditioned"
        for seen in self.history:
            record.add(name, seen.step, seen.highest)
            record.add(f"{name}.residual", seen.step, seen.residual)
            record.add(f"{name}.reliable", seen.step, float(seen.reliable))
            if self._options["lowest"]:
                record.add(f"{name}.lowest", seen.step, seen.lowest)
                record.add(f"{name}.lowest_residual", seen.step, seen.lowest_residual)
            if self._options["trace"]:
                record.add(f"{name}.trace", seen.step, seen.trace)
                record.add(f"{name}.trace_error", seen.step, seen.trace_error)

    # -- Pieces ------------------------------------------------------------------------

    def _visit(self, step: int, params: Params) -> Tracked | None:
        """Measure, and plan the next measurement."""
        self._visits += 1
        if self._visits == SETTLING:
            self._left = self._now
            self._plan()
            return None
        first = self._course is None
        if first:
            self._refuse(step, params)
        began = self._now
        try:
            jax.block_until_ready(params)
            began = perf_counter()
            if self._visits > SETTLING:
                self._loop += began - self._left
            if self._course is None:
                self._course = self._prepare(params)
                self.compile_seconds = perf_counter() - began
                began = perf_counter()
            seen = self._measure(self._course, int(step), params, began)
        except Exception as error:
            if first:
                raise
            seen = self._nothing(step, error, perf_counter() - began)
        self.history.append(seen)
        self._left = self._now = perf_counter()
        self.seconds += self._left - began
        if self._visits > SETTLING:
            self._plan()
        return seen

    def _refuse(self, step: Any, params: Params) -> None:
        """Before the first measurement: what no measurement can be made of."""
        leaves = jax.tree.leaves(params)
        if any(isinstance(x, Tracer) for x in leaves):
            raise InputError(
                "The tracker was called inside of `jit`, where there are no values yet; "
                "call it in the Python loop, after the compiled update."
            )
        if any(getattr(x, "is_deleted", lambda: False)() for x in leaves):
            raise InputError(
                "The parameters were donated to a compiled function and are gone; pass "
                "those that the update returned."
            )
        try:
            int(step)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"The step must be a whole number, not {step!r}: `watch(step, params)`."
            ) from error

    def _unchanged(self, params: Params) -> None:
        """Refuse parameters for which nothing was compiled."""
        like = lambda tree: [
            (jnp.shape(x), canonical(x)) for x in jax.tree.leaves(tree)
        ]
        if jax.tree.structure(params) != jax.tree.structure(self._like):
            raise InputError(
                "The parameters have another structure than at the first measurement; "
                "make a tracker for them."
            )
        if like(params) != like(self._like):
            raise InputError(
                "The parameters have other shapes or dtypes than at the first "
                "measurement; make a tracker for them."
            )

    def _nothing(self, step: Any, error: Exception, took: float) -> Tracked:
        """What stands for a measurement that could not be taken."""
        try:
            at = int(step)
        except (TypeError, ValueError):
            at = self.history[-1].step if self.history else 0
        nan = float("nan")
        why = str(error) if isinstance(error, InputError) else in_short(error)
        return Tracked(at, nan, nan, nan, nan, nan, nan, False, 0, took, why)

    def _plan(self) -> None:
        """When (1) will hold."""
        self._price = (max(self._wanted, self._least()) + self._fixed()) * self._rate
        needed = (self.seconds + self._price) / (USED * self._budget)
        self._due = self._left + needed - self._loop

    def _fixed(self) -> int:
        """Products beside those for the ends."""
        return PROBES if self._options["trace"] else 0

    def _least(self) -> int:
        """Products for the ends that the next measurement takes in any case."""
        return LEAST if len(self.history) % AGAIN else FIRST

    def _saved(self) -> float:
        """What the budget holds: 0.6 b L − S."""
        return USED * self._budget * self._loop - self.seconds

    def _prepare(self, params: Params) -> Course:
        """Compile all programs, by one look that does not count."""
        check(lambda p: self._loss(p, *self._args), params)
        self._like = jax.eval_shape(lambda p: p, params)
        ready = course(self._loss, params, self._args, **self._options)
        found = self._follow(ready, params, (), 0)
        # NaN ends a look early, before the directions are combined.
        self._follow(ready, params, found.directions, 0)
        return ready

    def _follow(
        self, ready: Course, params: Params, directions: tuple[Array, ...], most: int
    ) -> Any:
        P = self._preconditioner
        P = P() if callable(P) else P
        if P is not None:
            check_diagonal(self._like, P)
        return follow(
            ready,
            params,
            self._args,
            directions,
            key=self._key,
            turn=len(self.history),
            most=most,
            least=self._least() if most else 0,
            preconditioner=P,
        )

    def _measure(
        self, ready: Course, step: int, params: Params, began: float
    ) -> Tracked:
        self._unchanged(params)
        least, fixed = self._least(), self._fixed()
        most = max(self._wanted, least)
        if self._rates:
            most = max(most, int(self._saved() / self._rate) - fixed)
        found = self._follow(ready, params, self._directions, most)
        self._directions = found.directions
        took = perf_counter() - began
        spent = found.num_products
        self._rates = [*self._rates, took / spent][-RECENT:]
        ends = spent - fixed
        if found.reliable:
            if ends > least or least == LEAST:  # else it may have needed fewer
                self._wanted = ends
        elif np.isfinite(found.highest):
            self._wanted = min(ROWS, ends + max(ROUND, ends // 2))
        self._rate = float(np.median(self._rates))
        nan = float("nan")
        low = (found.lowest, found.lowest_residual) if ready.lowest else (nan, nan)
        return Tracked(
            step,
            found.highest,
            found.residual,
            *low,
            found.trace,
            found.trace_error,
            found.reliable,
            spent,
            took,
            "" if np.isfinite(found.highest) else "the Hessian is not finite",
        )


def tracker(
    loss: Callable[..., Float[Array, ""]],
    *,
    key: PRNGKeyArray,
    data: PyTree | None = None,
    lowest: bool = False,
    trace: bool = False,
    budget: float = 0.05,
    tolerance: float = TOLERANCE,
    preconditioner: Params | Callable[[], Params] | None = None,
) -> Tracker:
    """Follow λ_max of a loss along any training loop, within `budget` of its time.

    Returns `watch`, to be called as `watch(step, params)` after every update; it returns
    None in most steps, else a `Tracked`.

    **Arguments**

    - `loss`: `loss(params)` on a fixed batch, or with `data` `loss(params, data)`.
    - `lowest`, `trace`: follow λ_min (or what a Krylov space for both ends has of it)
      and the trace too; dearer, so there are fewer points.
    - `budget`: the share of the loop's time.
    - `tolerance`: the residual of λ_max, relative to it, that counts as reliable.
    - `preconditioner`: a positive diagonal P in the structure of the parameters, or a
      function without arguments that returns the present one; the spectrum is then that
      of P^(-1/2) H P^(-1/2).

    A measurement takes up to 25 copies of the parameters in memory. Where the Hessian
    is not finite its values are NaN, not reliable, and the loop goes on; so it does
    after the first measurement whatever happens. `reliable` says that an eigenvalue is
    near, which a larger one that has just come up may still evade.

    Raises `InputError` for a loss that is no function, and for a budget or a tolerance
    that is not positive; what is wrong with the rest shows at the first call.
    """
    if not callable(loss):
        raise InputError(
            f"The loss must be a function of the parameters, not {type_name(loss)}."
        )
    if not isinstance(key, jax.Array):
        raise InputError(
            f"`key` must be a random key, as `jax.random.key(0)`, not {key}."
        )
    for name, value in (("budget", budget), ("tolerance", tolerance)):
        if not value > 0:
            raise InputError(f"`{name}` must be a positive share, not {value}.")
    args = () if data is None else (data,)
    options = {"lowest": lowest, "trace": trace, "tolerance": tolerance}
    return Tracker(loss, args, options, budget, preconditioner, key)
