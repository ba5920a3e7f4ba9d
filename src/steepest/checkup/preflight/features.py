"""What is left of the inputs before the last layer: how many directions, how unlike.

The outputs h of the last non-linearity, on the probe batch, are the features from which
the last layer makes its answer. With the eigenvalues σᵢ² of their covariance, written as
shares pᵢ = σᵢ²/Σσ², their effective rank is

    exp(−Σ pᵢ log pᵢ),                                                       (1)

between 1 and the number of units: the number of equal directions that would be as
disordered. Examples whose features point the same way, cos(hᵢ, hⱼ) ≈ 1, cannot be told
apart by them.

References
    Roy & Vetterli (2007), The effective rank.                               -- (1)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §15.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from ...core import Site, capture
from ...training import Record
from ...training.probes.keeping import End
from ...training.step import loss_of
from ._note import note


WIDEST = 2048  # units whose covariance is taken


def measure_after(end: End | None, record: Record) -> None:
    """Write the fact `features.last`: its site, width, rank (1) and mean cosine."""
    if end is None or record.meta.get("ended") == "non-finite":
        record.missing["features.last"] = "there is no last state to look at"
        return
    note(record, "features.last", lambda: last_features(end))


def last_features(end: End) -> dict[str, Any] | None:
    """(1) of the last non-linearity that keeps examples in rows, and the mean cosine."""
    context, carry = end.context, end.snapshot.carry
    program = context.program
    order: list[str] = []

    def kept(site: Site, h: Any) -> Any:
        return h.astype(jnp.float32) if h.ndim == 2 else jnp.zeros((0, 0))

    @jax.jit
    def run(params: PyTree, batch: PyTree, key: Any) -> dict[str, Any]:
        def objective(params: PyTree) -> Any:
            return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

        found = capture(objective, "nonlinearity.output", kept)(params)[1]
        order[:] = found
        return found

    found = run(carry.params, context.batch, context.key)
    rows = len(jax.tree.leaves(context.batch)[0])
    sites = [s for s in order if found[s].shape[:1] == (rows,)]
    if not sites:
        return None
    h = np.asarray(found[sites[-1]], np.float64)
    if not 2 <= h.shape[1] <= WIDEST:
        return None
    return {
        "site": sites[-1],
        "width": int(h.shape[1]),
        "rank": effective_rank(h),
        "cosine": mean_cosine(h),
    }


def effective_rank(h: Float[np.ndarray, "examples units"]) -> float:
    """(1) of the covariance of some features; 0 where they do not vary."""
    squares = np.linalg.svd(h - h.mean(axis=0), compute_uv=False) ** 2
    least = np.finfo(np.float32).eps ** 2 * np.sum(h**2)
    if not squares.sum() > least:
        return 0.0
    p = squares[squares > 0] / squares.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def mean_cosine(h: Float[np.ndarray, "examples units"]) -> float:
    """The mean of cos(hᵢ, hⱼ) over pairs of different examples; zero rows have none."""
    length = np.linalg.norm(h, axis=1)
    unit = h[length > 0] / length[length > 0, None]
    n = len(unit)
    if n < 2:
        return 1.0
    return float((np.sum(unit.sum(axis=0) ** 2) - n) / (n * (n - 1)))
