"""How the diagonal P of an adaptive optimiser is read from its state.

    P = √(s + ε′) + ε                                                            (1)

with s, ε′ and ε of the optimiser's own; `adaptive` has the table. States keep the moments
that s is made of, and only some of the constants.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §8.5.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, PyTree

from ..core.errors import InputError
from ..curvature.products import Params


Constants = Mapping[str, Any]  # numbers, or arrays of one


def adaptive_parts(node: Any, given: Constants) -> Iterator[tuple[Any, Constants]]:
    """The adaptive parts of a state of any nesting, each with the constants known of it."""
    name = type(node).__name__
    if name in READERS:
        yield node, given
        return
    if name in UNREADABLE:
        raise InputError(
            f"`{name}` belongs to an optimiser that does not divide by a diagonal kept "
            "in its state, so it has no P; for Lion and sign descent see "
            "`largest_sign_step`."
        )
    if hasattr(node, "hyperparams") and hasattr(node, "inner_state"):
        names = {
            "b2": "decay",
            "decay": "decay",
            "eps": "default",
            "eps_root": "eps_root",
        }
        seen = {names[k]: v for k, v in node.hyperparams.items() if k in names}
        yield from adaptive_parts(node.inner_state, {**seen, **given})
        return
    for child in jax.tree.leaves(node, is_leaf=lambda x: x is not node):
        if child is not node:
            yield from adaptive_parts(child, given)


def _root(s: PyTree, inside: Any, outside: Any) -> Params:
    """(1), in the dtypes of s."""

    def root(s: Array) -> Array:
        return jnp.sqrt(s + jnp.asarray(inside, s.dtype)) + jnp.asarray(
            outside, s.dtype
        )

    return jax.tree.map(root, s)


def _corrected(moment: PyTree, decay: Any, count: Any) -> PyTree:
    if not isinstance(count, Tracer) and int(count) == 0:
        raise InputError(
            "The optimiser has made no update yet, so it divides by nothing; read its "
            "preconditioner after the first one."
        )
    seen = 1 - jnp.asarray(decay, jnp.float32) ** count.astype(jnp.float32)
    return jax.tree.map(lambda m: m / seen.astype(m.dtype), moment)


def _adam(state: optax.ScaleByAdamState, given: Constants) -> Params:
    v = _corrected(state.nu, given.get("decay", 0.999), state.count)
    return _root(v, given.get("eps_root", 0.0), _epsilon(given, 1e-8))


def _amsgrad(state: optax.ScaleByAmsgradState, given: Constants) -> Params:
    return _root(state.nu_max, given.get("eps_root", 0.0), _epsilon(given, 1e-8))


def _belief(state: optax.ScaleByBeliefState, given: Constants) -> Params:
    """Its ε′ is in the moment already."""
    v = _corrected(state.nu, given.get("decay", 0.999), state.count)
    return _root(v, 0.0, _epsilon(given, 1e-16))


def _rms(state: Any, given: Constants) -> Params:
    """RMSProp: plain or centred, with a bias correction where the state has a count."""
    nu, mu = state.nu, getattr(state, "mu", None)
    if "count" in state._fields:
        decay = given.get("decay", 0.9)
        nu = _corrected(nu, decay, state.count)
        mu = None if mu is None else _corrected(mu, decay, state.count)
    if mu is not None:
        nu = jax.tree.map(lambda v, m: v - m * m, nu, mu)
    return _root(nu, *_inside_or_outside(given, 1e-8))


def _inside_or_outside(given: Constants, default: float) -> tuple[Any, Any]:
    """ε′ and ε of RMSProp and AdaGrad, of which Optax has one, inside by default."""
    if "eps" not in given and "eps_root" not in given:
        return given.get("default", default), 0.0
    return given.get("eps_root", 0.0), given.get("eps", 0.0)


def _epsilon(given: Constants, default: float) -> Any:  # a number, or an array of one
    """ε of Adam and its kin: what the caller says, what was injected, Optax's own."""
    return given.get("eps", given.get("default", default))


#: How P is read from a state that holds what it takes, by the names of Optax's types.
READERS: dict[str, Callable[[Any, Constants], Params]] = {
    "ScaleByAdamState": _adam,
    "ScaleByAmsgradState": _amsgrad,
    "ScaleByBeliefState": _belief,
    "ScaleByRmsState": _rms,
    "ScaleByRmsWithCountState": _rms,
    "ScaleByRStdDevState": _rms,
    "ScaleByRStdDevWithCountState": _rms,
    "ScaleByRssState": lambda state, given: _root(
        state.sum_of_squares, *_inside_or_outside(given, 1e-7)
    ),
    "AdaGradState": lambda state, _: _root(state.sum_of_squares, 0.0, state.delta),
}

#: States of optimisers whose step is not (1), by the names of their types in Optax.
UNREADABLE = frozenset(
    [
        "FactoredState",
        "ScaleByAdaDeltaState",
        "ScaleByAdanState",
        "ScaleByLBFGSState",
        "ScaleByLionState",
        "ScaleByNovogradState",
        "ScaleByRpropState",
        "ScaleBySM3State",
        "COCOBState",
        "DAdaptAdamWState",
        "GaLoreState",
        "MadgradState",
        "MomoAdamState",
        "MomoState",
        "MuonState",
        "ProdigyState",
        "ScaleByAdemamixState",
        "ScaleBySimplifiedAdEMAMixState",
        "HutchinsonState",
        "SophiaState",
    ]
)
