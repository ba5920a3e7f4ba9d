"""The ground at the end of a run: its curvature, its noise, and what the step makes of it.

A loss that stands still stands in one of several places, which only derivatives tell
apart. With the gradient g and the Hessian H on the probe batch these facts are written:

- `curvature.ritz_values`, `curvature.ritz_weights`, `(probes, steps)`: the spectrum by
  stochastic Lanczos quadrature, φ(λ) ≈ mean over probes of Σᵢ wᵢ δ(λ − μᵢ);
- `curvature.highest`, `curvature.lowest`: the outermost μ of the same Krylov spaces; each
  has an eigenvalue within its `..._residual`, βₖ|sₖ|;
- `curvature.trace` n Σ wᵢμᵢ and `curvature.effective_dimension` n Σ wᵢ μᵢ/(μᵢ + α) over
  μᵢ > 0, with α a thousandth of the highest: as pairs (value, standard error);
- `curvature.gradient_norm` ‖g‖ and `curvature.along_gradient` gᵀHg/‖g‖²;
- `curvature.kind` and `curvature.reason`: the verdict of `critical_point`, or "moving"
  where the gradient is not small;
- `curvature.step_sizes` s, `curvature.step_actual` L(θ + su) and
  `curvature.step_predicted`, for the update u that the optimiser would make next,

      L(θ) + s gᵀu + ½ s² uᵀHu;                                              (1)

  `curvature.step_size` is the run's own s, 1;
- `curvature.inputs`: of the inputs of the probe batch the largest and the median
  eigenvalue of E xxᵀ, which the Hessian of a first layer contains as a factor;
- `noise.scale` and `noise.scale_interval`: B = tr Σ/‖G‖² of single examples, from their
  gradients on the probe batch (`optimize.gradient_noise`), and `noise.gradient`, the
  estimate of ‖G‖² with its standard error.

One compiled program serves every product. Their price is foreseen from the speed of the
run, and what would not fit is left out with a reason.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.
    Ubaru, Chen & Saad (2017), Fast estimation of tr(f(A)) via stochastic Lanczos
    quadrature.
    McCandlish et al. (2018), An empirical model of large-batch training.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ...core.errors import InputError
from ...curvature import critical_point
from ...curvature.spectrum import Density
from ...optimize.noise import COUPLED, Deviations, noise_of_deviations
from ...training import Record
from ...training.batches import examples_in
from ...training.probes import Context
from ...training.probes.keeping import End
from ...training.problem import split
from ...training.step import Carry, Program, loss_of
from ._krylov import Section, krylov
from ._note import note


STEPS, PROBES = 32, 4  # of Lanczos, and how many starts
LEAST = 12  # steps that say something
SIZES = np.geomspace(0.1, 10, 25)  # times the run's own step
DENSE = 512  # parameters up to which `critical_point` knows every eigenvalue
WIDEST = 1024  # features whose second moments are taken
MEMORY = 2**28  # bytes of all Krylov bases, or of the gradients of the examples
EXAMPLES = 16  # of whose gradients, at least, a noise scale is read
ALPHA = 1e-3  # of the highest curvature: what the effective dimension counts from
COMPILING = 2.0  # seconds


class Look(NamedTuple):
    """What is seen of the end of a run."""

    loss: float
    gradient_norm: float
    along: float  # gᵀHg/‖g‖²
    slope: float  # gᵀu
    bend: float  # uᵀHu
    actual: Float[np.ndarray, " sizes"]
    section: Section
    each: Deviations | None  # gradients of single examples


def measure_after(end: End | None, record: Record, seconds: float) -> None:
    """Write the facts `curvature.*` and `noise.*`, if that fits into `seconds`."""
    names = ("curvature.ritz_values", "noise.scale")
    if end is None:
        for name in names:
            record.missing.setdefault(name, "the run was interrupted")
        return
    if record.meta.get("ended") == "non-finite":
        for name in names:
            record.missing.setdefault(name, "the loss stopped being a number")
        return
    probes, steps = plan(end, record, seconds)
    if probes < 1:
        for name in names:
            reason = "too little time was left of the budget"
            record.missing.setdefault(name, reason)
        return
    found: dict[str, Any] = {}

    def curvature() -> Any:
        found["look"] = look_at(end, probes, steps)
        return write_curvature(end, record, found["look"])

    note(record, "curvature.ritz_values", curvature)
    if "look" not in found:
        reason = record.missing.get("curvature.ritz_values", "")
        record.missing.setdefault("noise.scale", reason)
        return
    note(record, "noise.scale", lambda: write_noise(end, record, found["look"]))


def plan(end: End, record: Record, seconds: float) -> tuple[int, int]:
    """How many starts of Lanczos and how many steps of each there is time for."""
    n = int(record.meta.get("parameters", 0))
    if n < 1:
        return 0, 0
    pace = 1 / max(float(record.meta.get("steps_per_second", 1.0)), 1e-9)
    size, batch = examples_in(end.context.batch), end.context.recipe.batch_size
    product = 2.5 * pace * max(size / max(batch, 1), 0.25)  # a guess, and a high one
    if seconds < COMPILING:
        return 0, 0
    affordable = (seconds - COMPILING) / product
    steps = int(min(STEPS, n, affordable, MEMORY / (8 * n)))
    if steps < LEAST and steps < n:
        return 0, 0
    probes = int(min(PROBES, affordable / steps))
    return max(probes, 1), max(steps, LEAST) if n >= LEAST else n


def look_at(end: End, probes: int, steps: int) -> Look:
    """Take all measurements, with three small programs and the iteration on the host."""
    context, carry = end.context, end.snapshot.carry
    program, batch, key = wide(context), context.batch, context.key
    leaves = jax.tree.leaves(carry.params)
    if not all(jnp.issubdtype(x.dtype, jnp.floating) for x in leaves):
        raise InputError("the Hessian of complex parameters is not taken")
    theta, unravel = ravel_pytree(carry.params)
    rows, n = examples_in(batch), theta.size

    def objective(params: PyTree, carry: Carry, batch: PyTree, key: Any) -> Array:
        return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

    @jax.jit
    def derivatives(carry: Carry, batch: PyTree, key: Any, v: Array) -> Any:
        slope = jax.value_and_grad(lambda p: objective(p, carry, batch, key))
        (loss, g), (_, Hv) = jax.jvp(slope, (carry.params,), (unravel(v),))
        u, _ = program.optimiser.update(g, carry.moments, carry.params)
        return loss, ravel_pytree(g)[0], ravel_pytree(u)[0], ravel_pytree(Hv)[0]

    def derive(v: np.ndarray) -> list[np.ndarray]:
        with jax.default_matmul_precision("highest"):
            found = derivatives(carry, batch, key, v.astype(theta.dtype))
        return [np.asarray(x, np.float64) for x in found]

    loss, g, u, _ = derive(np.zeros(n))
    Hg, Hu = derive(g)[3], derive(u)[3]
    section = krylov(lambda v: derive(v)[3], n, probes, steps)
    # A convolution with as many weights as points is slow on a CPU, one by one it is not.
    written = jax.make_jaxpr(objective)(carry.params, carry, batch, key)
    convolved = "conv_general_dilated" in str(written)

    def at(s: Array, carry: Carry, batch: PyTree, key: Any, u: Array) -> Array:
        return objective(unravel(theta + s * u), carry, batch, key)

    rest = (carry, batch, key, u.astype(theta.dtype))
    sizes = SIZES.astype(theta.dtype)
    if convolved:
        one = jax.jit(at)
        actual = np.asarray([one(s, *rest) for s in sizes], float)
    else:
        many = jax.jit(jax.vmap(at, (0, None, None, None, None)))
        actual = np.asarray(many(sizes, *rest), float)

    examples = rows if rows * n * 4 <= MEMORY else 0

    @jax.jit
    def deviations(carry: Carry, batch: PyTree, key: Any, whole: Array) -> Deviations:
        def gradient(one: PyTree) -> Array:
            g = jax.grad(objective)(carry.params, carry, one, key)
            return ravel_pytree(g)[0].astype(jnp.float32)

        each = jax.vmap(gradient)(jax.tree.map(lambda a: a[:, None], batch))
        mean = each.mean(axis=0)
        h = each - mean[None]
        size = jnp.sqrt(jnp.mean(jnp.sum(each * each, axis=1)))
        off = jnp.linalg.norm(mean - whole) / jnp.where(size > 0, size, 1)
        return Deviations(jnp.sum(h * h, axis=1), h @ mean, mean @ mean, off)

    alone = None
    if examples >= EXAMPLES:
        alone = deviations(carry, batch, key, g.astype(np.float32))
    square = float(g @ g)
    return Look(
        float(loss),
        square**0.5,
        float(g @ Hg) / (square or 1.0),
        float(g @ u),
        float(u @ Hu),
        actual,
        section,
        alone,
    )


def wide(context: Context) -> Program:
    """The program in float32: products with H in a narrower format have two digits."""
    return context.program._replace(precision="float32")


def write_curvature(end: End, record: Record, look: Look) -> Any:
    """All facts of the curvature; the Ritz values are returned."""
    nodes, weights, low_residual, high_residual = look.section
    n = sum(x.size for x in jax.tree.leaves(end.snapshot.carry.params))
    density = Density(nodes, weights, n, nodes.size)
    lowest, highest = float(nodes.min()), float(nodes.max())
    facts: dict[str, Any] = {
        "ritz_weights": weights,
        "highest": highest,
        "lowest": lowest,
        "highest_residual": high_residual,
        "lowest_residual": low_residual,
        "gradient_norm": look.gradient_norm,
        "along_gradient": look.along,
        "step_sizes": SIZES,
        "step_size": 1.0,
        "step_actual": look.actual,
        "step_predicted": look.loss + SIZES * look.slope + 0.5 * SIZES**2 * look.bend,
    }
    trace = density.total(lambda x: x)
    facts["trace"] = [trace.value, trace.sem]
    if highest > 0:
        dimension = density.effective_dimension(ALPHA * highest)
        facts["effective_dimension"] = [dimension.value, dimension.sem]
    facts["inputs"] = moments_of_inputs(end)
    facts["kind"], facts["reason"] = kind_of(end, facts)
    for name, value in facts.items():
        record.facts[f"curvature.{name}"] = value
    return nodes


def moments_of_inputs(end: End) -> list[float] | None:
    """The largest and the median eigenvalue of E xxᵀ, of those that are not zero."""
    x, _ = split(end.context.problem, end.context.batch)
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.floating):
        return None
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    if flat.shape[1] > WIDEST or flat.shape[1] < 2 or not np.isfinite(flat).all():
        return None
    values = np.linalg.svd(flat, compute_uv=False) ** 2 / len(flat)
    values = values[values > np.finfo(np.float32).eps * values[0]]
    return [float(values[0]), float(np.median(values))] if len(values) else None


def kind_of(end: End, facts: dict[str, Any]) -> tuple[str, str]:
    """The verdict on the place, and a sentence: that of `critical_point`.

    Of a large model a saddle is proved by two Ritz values; that it has no negative
    curvature could not be by so few products, so that there it is "inconclusive".
    """
    carry = end.snapshot.carry
    theta = ravel_pytree(carry.params)[0]
    low, high, norm = facts["lowest"], facts["highest"], facts["gradient_norm"]
    eps, size = float(jnp.finfo(theta.dtype).eps), max(abs(high), abs(low))
    limit = eps**0.5 * size * max(float(jnp.linalg.norm(theta)), 1.0)
    if norm > limit:
        return "moving", (
            f"the gradient has norm {norm:.3g}, above the {limit:.3g} of a critical "
            "point."
        )
    if theta.size > DENSE:
        tau = 32 * eps * size + max(facts["lowest_residual"], facts["highest_residual"])
        if low < -tau and high > tau:
            return "saddle", (
                f"λ_min ≤ {low:.4g} and λ_max ≥ {high:.4g}, both beyond what counts as "
                f"zero, {tau:.1g}."
            )
        return "inconclusive", (
            f"no curvature below {low:.3g} was seen, which so few products do not prove."
        )
    context = end.context
    batch, key, program = context.batch, context.key, wide(context)

    def at(params: PyTree) -> Array:
        return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

    found = critical_point(at, carry.params, key=key)
    return found.kind, found.reason


def write_noise(end: End, record: Record, look: Look) -> Any:
    """The noise scale, with an interval."""
    each = look.each
    if each is None:
        raise InputError("gradients of single examples would take too much memory")
    if not float(each.coupling) <= COUPLED:
        raise InputError("the loss is no mean over the examples of its batch")
    noise = noise_of_deviations(each, batch_size=end.context.recipe.batch_size)
    record.facts["noise.scale_interval"] = [float(x) for x in noise.interval]
    record.facts["noise.gradient"] = [noise.squared_norm, noise.squared_norm_sem]
    record.facts["noise.trace"] = [noise.trace, noise.trace_sem]
    return noise.noise_scale
