"""Public functions of jax.nn, optax.losses and jax.scipy.special on their domains.

Where the library is right no defect may be found. Where the exact result is not
representable the finding is of the class "range". Where the library is wrong in part of
the domain (`LIBRARY_DEFECTS`, measured) the finding is due.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import nn
from jax.scipy import special

from .case import f32, span
from .controls import Control


ELEMENTS = span(-1e4, 1e4, 4)
ROWS = span(-100, 100, 2, 5)
CLASSES = np.array([1, 4], np.int32)
ONE_HOT = f32(np.eye(5)[CLASSES])
PROBABILITIES = span(1e-3, 1, 2, 5)
LOG_PROBABILITIES = span(-20, 0, 2, 5)
BINARY = span(0, 1, 4)


def _mask() -> np.ndarray:
    return np.array([[True, True, True, False, True], [True] * 5])


def _attention(q, k, v):
    return nn.dot_product_attention(q, k, v)


def _causal(q, k, v):
    return nn.dot_product_attention(q, k, v, is_causal=True)


UNITS = tuple(
    Control(f"nn.{f.__name__}", f, (ELEMENTS,))
    for f in (
        nn.relu,
        nn.relu6,
        nn.sigmoid,
        nn.softplus,
        nn.sparse_plus,
        nn.sparse_sigmoid,
        nn.soft_sign,
        nn.silu,
        nn.log_sigmoid,
        nn.leaky_relu,
        nn.hard_sigmoid,
        nn.hard_silu,
        nn.hard_tanh,
        nn.elu,
        nn.celu,
        nn.selu,
        nn.gelu,
        nn.squareplus,
        nn.mish,
        nn.identity,
        nn.tanh,
        nn.glu,
    )
)

NN = (
    *UNITS,
    Control("nn.gelu exact", lambda x: nn.gelu(x, approximate=False), (ELEMENTS,)),
    Control("nn.softmax", nn.softmax, (ROWS,)),
    Control("nn.softmax where", lambda x: nn.softmax(x, where=_mask()), (ROWS,)),
    Control("nn.logsumexp", lambda x: nn.logsumexp(x, axis=-1), (ROWS,)),
    Control("nn.logmeanexp", lambda x: nn.logmeanexp(x, axis=-1), (ROWS,)),
    Control("nn.log1mexp", nn.log1mexp, (span(1e-3, 50, 4),)),
    Control("nn.standardize", nn.standardize, (ROWS,)),
    Control(
        "nn.one_hot",
        lambda i: nn.one_hot(i, 5),
        (span(0, 4, 3, dtype=jnp.int32),),
        gradient=False,
    ),
    Control(
        "nn.dot_product_attention",
        _attention,
        tuple(span(-10, 10, 1, 4, 2, 8) for _ in range(3)),
    ),
    Control(
        "nn.dot_product_attention causal",
        _causal,
        tuple(span(-10, 10, 1, 4, 2, 8) for _ in range(3)),
    ),
)

losses = optax.losses


def _of_classes(f: Callable) -> Callable:
    return lambda z: f(z, CLASSES)


def _of_rows(f: Callable) -> Callable:
    return lambda z: f(z, ONE_HOT)


def _ranked(z):
    return losses.ranking_softmax_loss(z, f32([[0, 1, 2, 0, 1], [1, 0, 0, 3, 0]]))


def _ctc(z):
    labels = np.array([[1, 2], [3, 0]], np.int32)
    pads = f32([[0, 0], [0, 1]])
    return losses.ctc_loss(z, jnp.zeros((2, 6)), labels, pads)


def _ntxent(x):
    with jax.numpy_dtype_promotion("standard"):  # Optax adds a bool and an int
        return losses.ntxent(x, np.array([0, 0, 1, 1]))


def _multiclass_sparsemax(z):
    with jax.numpy_dtype_promotion("standard"):
        return losses.multiclass_sparsemax_loss(z, CLASSES)


def _generalized_dice(z):
    with jax.numpy_rank_promotion("allow"):
        return losses.multiclass_generalized_dice_loss(z, ONE_HOT)


def _fenchel_young(z):
    loss = losses.make_fenchel_young_loss(lambda v: nn.logsumexp(v, axis=-1))
    return loss(z, f32(np.eye(5)[1]))


SIGNS = f32([-1, 1, 1, -1])
VECTORS = span(-10, 10, 2, 5)

LOSSES = (
    Control("squared_error", losses.squared_error, (ROWS, ROWS)),
    Control("l2_loss", losses.l2_loss, (ROWS, ROWS)),
    Control("huber_loss", losses.huber_loss, (ROWS, ROWS)),
    Control("log_cosh", losses.log_cosh, (ROWS, ROWS)),
    Control(
        "cosine_similarity",
        lambda a, b: losses.cosine_similarity(a, b, epsilon=1e-6),
        (span(0.1, 10, 2, 5), span(0.1, 10, 2, 5)),
    ),
    Control(
        "cosine_distance",
        lambda a, b: losses.cosine_distance(a, b, epsilon=1e-6),
        (span(0.1, 10, 2, 5), span(-10, -0.1, 2, 5)),
    ),
    Control("sigmoid_bce", losses.sigmoid_binary_cross_entropy, (ELEMENTS, BINARY)),
    Control(
        "sigmoid_focal",
        losses.sigmoid_focal_loss,
        (span(-50, 50, 4), f32([0, 1, 1, 0])),
    ),
    Control("hinge_loss", lambda z: losses.hinge_loss(z, SIGNS), (ELEMENTS,)),
    Control("perceptron_loss", lambda z: losses.perceptron_loss(z, SIGNS), (ELEMENTS,)),
    Control(
        "sparsemax_loss",
        lambda z: losses.sparsemax_loss(z, np.array([0, 1, 1, 0])),
        (ELEMENTS,),
    ),
    Control(
        "multiclass_hinge",
        lambda z: jax.vmap(losses.multiclass_hinge_loss)(z, CLASSES),
        (ROWS,),
    ),
    Control(
        "multiclass_perceptron",
        lambda z: jax.vmap(losses.multiclass_perceptron_loss)(z, CLASSES),
        (ROWS,),
    ),
    Control(
        "multiclass_sparsemax",
        _multiclass_sparsemax,
        (ROWS,),
    ),
    Control("softmax_cross_entropy", _of_rows(losses.softmax_cross_entropy), (ROWS,)),
    Control(
        "safe_softmax_cross_entropy",
        _of_rows(losses.safe_softmax_cross_entropy),
        (ROWS,),
    ),
    Control(
        "softmax_cross_entropy_with_integer_labels",
        _of_classes(losses.softmax_cross_entropy_with_integer_labels),
        (ROWS,),
    ),
    Control("poly_loss", _of_rows(losses.poly_loss_cross_entropy), (ROWS,)),
    Control(
        "smooth_labels", lambda y: losses.smooth_labels(y, 0.1), (span(0, 1, 2, 5),)
    ),
    Control("kl_divergence", losses.kl_divergence, (LOG_PROBABILITIES, PROBABILITIES)),
    Control(
        "kl_divergence_with_log_targets",
        losses.kl_divergence_with_log_targets,
        (LOG_PROBABILITIES, LOG_PROBABILITIES),
    ),
    Control(
        "generalized_kl_divergence",
        losses.generalized_kl_divergence,
        (LOG_PROBABILITIES, PROBABILITIES),
    ),
    Control("ctc_loss", _ctc, (span(-20, 20, 2, 6, 5),)),
    Control("dice_loss", _of_rows(losses.dice_loss), (ROWS,)),
    Control(
        "binary_dice_loss",
        lambda z: losses.binary_dice_loss(z, f32(np.eye(5)[CLASSES])),
        (ROWS,),
    ),
    Control(
        "generalized_dice",
        _generalized_dice,
        (ROWS,),
    ),
    Control("ranking_softmax_loss", _ranked, (span(-50, 50, 2, 5),)),
    Control("triplet_margin", losses.triplet_margin_loss, (VECTORS, VECTORS, VECTORS)),
    Control("ntxent", _ntxent, (span(0.1, 10, 4, 3),)),
    Control("fenchel_young", _fenchel_young, (span(-100, 100, 5),)),
)

SPECIAL = (
    Control("special.logsumexp", lambda x: special.logsumexp(x, axis=-1), (ROWS,)),
    Control("special.logit", special.logit, (span(1e-6, 0.999, 4),)),
    Control("special.expit", special.expit, (ELEMENTS,)),
    Control("special.xlogy", special.xlogy, (BINARY, span(1e-3, 1, 4))),
    Control("special.entr", special.entr, (span(1e-3, 1, 4),)),
    Control("special.log_ndtr", special.log_ndtr, (span(-100, 100, 4),)),
)

LIBRARY = (*NN, *LOSSES, *SPECIAL)


class Wrong(NamedTuple):
    """A point where a library function is wrong, by measurement."""

    name: str
    fun: Callable
    specs: tuple
    point: tuple
    gradient: bool
    truth: float | None  # of the worst element; None where 0 is the convention
    element: tuple = ()


LIBRARY_DEFECTS = (
    Wrong(
        "logsumexp",
        special.logsumexp,
        (span(-40, 40, 2),),
        (f32([0, -20]),),
        False,
        2.0611536e-9,
    ),
    Wrong(
        "log_softmax",
        nn.log_softmax,
        (span(-40, 40, 2),),
        (f32([0, -20]),),
        False,
        -2.0611536e-9,
        (0,),
    ),
    Wrong(
        "logsumexp of all -inf",
        special.logsumexp,
        (span(-np.inf, 10, 2),),
        (f32([-np.inf, -np.inf]),),
        True,
        0.0,
        (0,),
    ),
    Wrong(
        "linalg.norm",
        jnp.linalg.norm,
        (span(-1e25, 1e25, 2),),
        (f32([3e20, 4e20]),),
        False,
        5e20,
    ),
    Wrong(
        "std",
        jnp.std,
        (span(-1e25, 1e25, 2),),
        (f32([3e20, -3e20]),),
        False,
        3e20,
    ),
    Wrong(
        "standardize far from 0",
        nn.standardize,
        (span(2990, 3010, 5),),
        (f32([3000, 3001, 3000, 3001, 3000]),),
        False,
        -0.4 / np.sqrt(0.24 + 1e-5),
        (0,),
    ),
    Wrong("gelu", nn.gelu, (span(-1e30, 1e30),), (f32(1e20),), True, 1.0),
    Wrong(
        "linalg.norm at 0",
        jnp.linalg.norm,
        (span(-1, 1, 2),),
        (f32([0, 0]),),
        True,
        0.0,
        (0,),
    ),
    Wrong(
        "cosine_similarity of 0",
        losses.cosine_similarity,
        (span(-1, 1, 2), span(-1, 1, 2)),
        (f32([0, 0]), f32([1, 0])),
        False,
        None,
    ),
    Wrong(
        "xlogy at (0, 0)",
        special.xlogy,
        (span(0, 1), span(0, 1)),
        (f32(0), f32(0)),
        True,
        None,
    ),
)
