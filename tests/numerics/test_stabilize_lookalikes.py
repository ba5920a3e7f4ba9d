"""Formulas that look like those that are rewritten, over other axes, in other order.

All matrices are square, so that no shape tells them apart. At moderate numbers the
formula as it is written is right, and the oracle.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import stabilize


A, B = jax.random.normal(jax.random.key(0), (2, 3, 3))
W, M = jnp.abs(B), A > 0


def unit(x, axis):
    return x / jnp.linalg.norm(x, axis=axis, keepdims=True)


LOOKALIKES = {
    "versine axes": (lambda a, b: 1 - jnp.sum(unit(a, 0) * unit(b, 0), axis=1), (A, B)),
    "versine mixed": (
        lambda a, b: 1 - jnp.sum(unit(a, 0) * unit(b, 1), axis=1),
        (A, B),
    ),
    "arccos axes": (
        lambda a, b: jnp.arccos(
            0.5 * jnp.tanh(jnp.sum(unit(a, 0) * unit(b, 0), axis=1))
        ),
        (A, B),
    ),
    "arccos unit": (
        lambda a, b: jnp.arccos(
            jnp.clip(jnp.sum(unit(a, 0) * unit(b, 0), axis=1), -1, 1)
        ),
        (A, B),
    ),
    "dist axes": (
        lambda a, b: jnp.sum(a * a, 0)[:, None] + jnp.sum(b * b, 0)[None] - 2 * a @ b.T,
        (A, B),
    ),
    "dist swapped": (
        lambda a, b: jnp.sum(a * a, 1)[None] + jnp.sum(b * b, 1)[:, None] - 2 * a @ b.T,
        (A, B),
    ),
    "dist T": (
        lambda a, b: (
            jnp.sum(a * a, 1)[None] + jnp.sum(b * b, 1)[:, None] - 2 * (a @ b.T).T
        ),
        (A, B),
    ),
    "dist AB": (
        lambda a, b: jnp.sum(a * a, 1)[:, None] + jnp.sum(b * b, 0)[None] - 2 * a @ b,
        (A, B),
    ),
    "dist self": (
        lambda a: jnp.sum(a * a, 1)[None] + jnp.sum(a * a, 1)[None] - 2 * a @ a.T,
        (A,),
    ),
    "row dist other axis": (
        lambda a, b: jnp.sum(a * a, 1) + jnp.sum(b * b, 1) - 2 * jnp.sum(a * b, 0),
        (A, B),
    ),
    "cos norms axis": (
        lambda a, b: (
            jnp.sum(a * b, 1)
            / (jnp.linalg.norm(a, axis=0) * jnp.linalg.norm(b, axis=0))
        ),
        (A, B),
    ),
    "cov axes": (lambda a, b: a @ b / 3 - jnp.outer(a.mean(0), b.mean(0)), (A, B)),
    "cov swap": (lambda a, b: a.T @ b / 3 - jnp.outer(b.mean(0), a.mean(0)), (A, B)),
    "cov T": (lambda a, b: a.T @ b / 3 - jnp.outer(b.mean(0), a.mean(0)).T, (A, B)),
    "cross axes": (lambda a, b: (a * b).mean(1) - a.mean(0) * b.mean(0), (A, B)),
    "cross sub": (lambda a, b: (a * b).mean(1) - a.mean(1) * b.mean(0), (A, B)),
    "var axes": (lambda a: (a * a).mean(1) - a.mean(0) ** 2, (A,)),
    "mean bc": (
        lambda a: (a * a).mean(1, keepdims=True) - a.mean(0, keepdims=True) ** 2,
        (A,),
    ),
    "windows axis": (lambda a: jnp.cumsum(a, 0)[1:] - jnp.cumsum(a, 0)[:-1], (A,)),
    "windows rev": (lambda a: jnp.cumsum(a, 1)[:, 1:] - jnp.cumsum(a, 1)[:, :-1], (A,)),
    "share axis": (lambda a: jnp.prod(a, 1) / jnp.prod(a, 1).sum(), (jnp.abs(A),)),
    "share axis0": (lambda a: jnp.prod(a, 0) / jnp.prod(a, 0).sum(), (jnp.abs(A),)),
    "diag axis0": (lambda a: jnp.log(jnp.diag(jnp.exp(a)) / jnp.exp(a).sum(0)), (A,)),
    "diag axis1": (lambda a: jnp.log(jnp.diag(jnp.exp(a)) / jnp.exp(a).sum(1)), (A,)),
    "lse T": (lambda a: a - jax.nn.logsumexp(a, axis=0), (A,)),
    "lse wrong axis": (lambda a: a - jax.nn.logsumexp(a, axis=0)[:, None], (A,)),
    "lse wrong axis2": (lambda a: a - jax.nn.logsumexp(a, axis=1)[None, :], (A,)),
    "norm scaled": (lambda a: a / jnp.sqrt(jnp.sum(a * a, 1)), (A,)),
    "norm T": (lambda a: a / jnp.sqrt(jnp.sum(a * a, 0, keepdims=True).T), (A,)),
    "gc": (
        lambda a, b: jnp.arccos(
            jnp.sin(a) * jnp.sin(b) + jnp.cos(a) * jnp.cos(b) * jnp.cos(a)
        ),
        (A[0] / 3, B[0] / 3),
    ),
    "gc2": (
        lambda a, b: jnp.arccos(
            jnp.clip(
                jnp.sin(a) * jnp.sin(a) + jnp.cos(a) * jnp.cos(a) * jnp.cos(b), -1, 1
            )
        ),
        (A[0] / 3, B[0] / 3),
    ),
    "quad": (lambda a, b: jnp.sqrt(a**2 - b) + a, (jnp.abs(A) + 3, B)),
    "quad2": (lambda a, b: 2 * jnp.sqrt(a**2 - b) - 2 * a, (jnp.abs(A) + 3, B)),
    "pow share": (lambda a, b: a**2 / (b**2 + a**2), (A, B)),
    "pow share1": (lambda a: 1 / (1 + a**3), (A,)),
    "pow share4": (lambda a: 4 / (4 + a**2), (A,)),
    "pow share neg": (lambda a: jnp.abs(a) ** 2.5 / (jnp.abs(a) ** 2.5 + 7.0), (A,)),
    "pow share odd": (lambda a, b: a**3 / (a**3 + b**3), (A, B)),
    "root of prod": (lambda a: jnp.sqrt(jnp.prod(a, 1)), (jnp.abs(A),)),
    "mean minus": (lambda a: jnp.exp(a).mean(0) - 1, (A,)),
    "pow over": (lambda a: (a**3 - 1) / (a - 1), (A,)),
    "pow over t": (lambda a, b: (jnp.abs(a) ** b - 1) / b, (A, B)),
    "chord": (lambda a, b: (jnp.exp(a) - jnp.exp(b)) / (b - a), (A, B)),
    "chord2": (lambda a, b: (a**2 - b**2) / (a - b), (A, B)),
    "softmax wrong axis": (lambda a: jnp.exp(a) / jnp.exp(a).sum(0)[:, None], (A,)),
    "softmax T": (lambda a: jnp.exp(a) / jnp.exp(a).sum(1), (A,)),
    "log softmax wrong": (lambda a: jnp.log(jnp.exp(a) / jnp.exp(a).sum(1)), (A,)),
    "masked": (lambda a: jnp.log(jnp.where(M, jnp.exp(a), 0).sum(1)), (A,)),
    "masked other": (
        lambda a: (
            jnp.where(M, jnp.exp(a), 0)
            / jnp.where(M.T, jnp.exp(a), 0).sum(1, keepdims=True)
        ),
        (A,),
    ),
    "weighted": (lambda a, b: W * jnp.exp(a) / jnp.sum(W * jnp.exp(a), 0), (A, B)),
    "weighted2": (lambda a, b: jnp.log(jnp.sum(b * b * jnp.exp(a), 1)), (A, B)),
    "dot": (lambda a, b: jnp.log(jnp.exp(a) @ jnp.exp(b)), (A, B)),
    "dotT": (lambda a, b: jnp.log(jnp.exp(a).T @ jnp.exp(b)), (A, B)),
    "einsum": (
        lambda a, b: jnp.log(jnp.einsum("ij,kj->ki", jnp.exp(a), jnp.exp(b))),
        (A, B),
    ),
    "einsum batch": (
        lambda a, b: jnp.log(jnp.einsum("ij,ij->i", jnp.exp(a), jnp.exp(b))),
        (A, B),
    ),
    "sum mul": (lambda a, b: jnp.sum(jnp.exp(a) * jnp.exp(b)), (A, B)),
    "sig prod": (
        lambda a, b: jnp.log(jax.nn.sigmoid(a) * (1 - jax.nn.sigmoid(b))),
        (A, B),
    ),
    "focal": (
        lambda a: jnp.log(jnp.where(M, jax.nn.sigmoid(a), 1 - jax.nn.sigmoid(a))),
        (A,),
    ),
    "where const": (lambda a: jnp.log(jnp.where(M, jnp.exp(a), 0.25)), (A,)),
    "cumsum": (lambda a: jnp.log(jnp.cumsum(jnp.exp(a), 1)), (A,)),
    "cumsum rev": (lambda a: jnp.log(jnp.cumsum(jnp.exp(a)[:, ::-1], 1)), (A,)),
    "cumprod": (lambda a: jnp.log(jnp.cumprod(jnp.abs(a), 0)), (A,)),
    "cumprod sign": (lambda a: jnp.log(jnp.cumprod(a, 0) ** 2), (A,)),
    "prod sign": (lambda a: jnp.log(jnp.prod(a, 1) ** 2), (A,)),
    "prod cube root": (lambda a: jnp.abs(jnp.prod(a, 1)) ** (1 / 3), (A,)),
    "ratio": (
        lambda a, b: (jnp.exp(a) - jnp.exp(b)) / (jnp.exp(a) + jnp.exp(b)),
        (A, B),
    ),
    "ratio rev": (
        lambda a, b: (jnp.exp(b) - jnp.exp(a)) / (jnp.exp(a) + jnp.exp(b)),
        (A, B),
    ),
    "bose": (lambda a: jnp.exp(a) / (jnp.exp(a) - 1), (W,)),
    "bose2": (lambda a: 3 / (2 - 2 * jnp.exp(a)), (W,)),
    "tanhdiff": (lambda a, b: jnp.tanh(a) - jnp.tanh(a + b), (A, B)),
    "sigdiff": (
        lambda a, b: 2 * jax.nn.sigmoid(a + b) - 2 * jax.nn.sigmoid(a - b),
        (A, B),
    ),
    "logdiff": (lambda a, b: jnp.log(a + 3 * b) - jnp.log(a), (jnp.abs(A), W)),
    "cosdiff": (lambda a, b: jnp.cos(a + b) - jnp.cos(a - b), (A, B)),
    "sq diff": (lambda a, b: (a + b) ** 2 - a**2, (A, B)),
    "recip": (lambda a, b: 2 / (a + b) - 2 / a, (jnp.abs(A) + 1, W)),
    "lgamma": (
        lambda a, b: jax.scipy.special.gammaln(a + b) - jax.scipy.special.gammaln(a),
        (jnp.abs(A) + 0.1, W),
    ),
    "lgamma beta": (
        lambda a, b: jnp.exp(
            jax.scipy.special.gammaln(a)
            + jax.scipy.special.gammaln(b)
            - jax.scipy.special.gammaln(a + b)
        ),
        (jnp.abs(A) + 0.1, W + 0.1),
    ),
    "max root c": (lambda a: jnp.sqrt(jnp.maximum(a, 0.5)), (A,)),
    "maskprod": (lambda a: (a > 0).astype(a.dtype) * jnp.log(a), (W,)),
    "maskprod2": (lambda a: (a > 0.3).astype(jnp.float32) * jnp.log(jnp.abs(a)), (A,)),
    "xlog1py": (lambda a, b: a * jnp.log(1 - b), (A, W / 4)),
    "xlogx1m": (lambda a: (1 - a) * jnp.log(1 - a), (W / 4,)),
    "kl": (lambda a, b: jnp.sum(a * (jnp.log(a) - jnp.log(b))), (W, jnp.abs(A))),
    "student": (lambda a: jnp.log1p(a**2 / 3), (A,)),
    "student2": (lambda a: jnp.log(1 + 3 * a**2 + a), (W,)),
    "hyp": (lambda a: jnp.sqrt(1 + a**2) - 1, (A,)),
    "hyp2": (lambda a: 3 * jnp.sqrt(1 + 4 * a**2) - 3, (A,)),
    "vers": (lambda a: (2 - 2 * jnp.cos(3 * a)) / (5 * a**2), (A,)),
    "vers2": (lambda a, b: (1 - jnp.cos(a)) / b**2, (A, W + 1)),
    "sinc": (lambda a: jnp.sin(2 * a) / (3 * a), (A,)),
    "diag nonsq": (lambda a: jnp.log(jnp.diag(jnp.exp(a[:, :2]))), (A,)),
    "diag off": (lambda a: jnp.log(jnp.diag(jnp.exp(a), 1)), (A,)),
    "diag lse other": (
        lambda a, b: jnp.log(jnp.diag(jnp.exp(a)) / jnp.exp(b).sum(1)),
        (A, B),
    ),
    "entry": (lambda a: jnp.log(jnp.exp(a)[1, 2] / jnp.exp(a).sum()), (A,)),
    "entry row": (lambda a: jnp.log(jnp.exp(a)[1] / jnp.exp(a).sum()), (A,)),
    "entry col": (lambda a: jnp.log(jnp.exp(a)[:, 0] / jnp.exp(a).sum(1)), (A,)),
    "rms": (lambda a: a * jax.lax.rsqrt(jnp.mean(a * a, 1, keepdims=True)), (A,)),
    "std": (lambda a: (a - a.mean(1, keepdims=True)) / a.std(1, keepdims=True), (A,)),
    "std wrong": (
        lambda a: (a - a.mean(0, keepdims=True)) / a.std(1, keepdims=True),
        (A,),
    ),
    "norm3": (lambda a: a / (2 * jnp.linalg.norm(a, axis=1, keepdims=True)), (A,)),
    "pearson": (
        lambda a, b: (a * b).sum(1) / jnp.sqrt((a * a).sum(1) * (b * b).sum(1)),
        (A, B),
    ),
    "pearson wrong": (
        lambda a, b: (a * b).sum(1) / jnp.sqrt((a * a).sum(1) * (b * b).sum(0)),
        (A, B),
    ),
    "pearson scaled": (
        lambda a, b: (a * b).mean(1) / jnp.sqrt((a * a).mean(1) * (b * b).mean(1)),
        (A, B),
    ),
    "pearson scaled2": (
        lambda a, b: (a * b).sum(1) / jnp.sqrt((a * a).mean(1) * (b * b).mean(1)),
        (A, B),
    ),
}


# Differences of numbers near 1, of which float32 keeps six digits.
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_formula_that_looks_alike_keeps_its_value(name):
    fun, inputs = LOOKALIKES[name]
    with jax.numpy_rank_promotion("allow"):
        plain, other = fun(*inputs), stabilize(fun)(*inputs)
    np.testing.assert_allclose(other, plain, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_formula_that_looks_alike_keeps_its_slope(name):
    fun, inputs = LOOKALIKES[name]
    by = tuple(range(len(inputs)))
    with jax.numpy_rank_promotion("allow"):
        plain, other = (
            jax.grad(lambda *xs, f=f: jnp.nansum(f(*xs)), by)(*inputs)
            for f in (fun, stabilize(fun))
        )
    for old, new in zip(plain, other, strict=True):
        np.testing.assert_allclose(new, old, **CLOSE)
