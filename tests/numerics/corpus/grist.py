"""The ten formulas behind the 79 numerical bugs of GRIST (Yan et al., FSE 2021).

Each is a whole small training program, `loss(params, batch)`, on images with pixels in
[0, 1], with the lines of the defect marked and a healthy twin: the same network with the
loss in its stable form. The parameters range over what training reaches.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .case import HUGE, ZERO, f32, span


class Group(NamedTuple):
    id: str
    defective: Callable  # loss(params, batch)
    healthy: Callable
    params: Any  # pytree of Interval
    batch: Any  # pytree of Interval and arrays
    blame: tuple[str, ...]
    kinds: tuple[str, ...]
    bugs: str  # the numbers of the bugs in GRIST's study
    rewritten: bool = True  # whether another form of the same function exists


def defect_lines(fun: Callable) -> set[int]:
    """The lines of the source that are marked as the defect."""
    lines, first = inspect.getsourcelines(fun)
    return {first + i for i, line in enumerate(lines) if "# defect" in line}


LABELS = f32(np.eye(10)[[3, 1, 4, 1]])
IMAGES = span(0, 1, 4, 64)
SQUARES = span(0, 1, 4, 8, 8, 1)
BATCH = (IMAGES, LABELS)
MLP = {
    "w1": span(-1, 1, 64, 16),
    "b1": span(-1, 1, 16),
    "w2": span(-1, 1, 16, 10),
    "b2": span(-1, 1, 10),
}
CNN = {
    "kernel": span(-1, 1, 3, 3, 1, 4),
    "w": span(-1, 1, 64, 10),
    "b": span(-1, 1, 10),
}
SCORE = MLP | {"w2": span(-1, 1, 16, 1), "b2": span(-1, 1, 1)}


def mlp(p, x):
    h = jax.nn.relu(x @ p["w1"] + p["b1"][None, :])
    return h @ p["w2"] + p["b2"][None, :]


def cnn(p, x):
    h = lax.conv_general_dilated(
        x, p["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    h = lax.reduce_window(
        jax.nn.relu(h), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
    )
    return h.reshape(x.shape[0], -1) @ p["w"] + p["b"][None, :]


def log_softmax_loss(z, y):
    return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=-1))


# -- Softmax ---------------------------------------------------------------------------


def g1(params, batch):
    x, y = batch
    p = jax.nn.softmax(mlp(params, x))
    return -jnp.mean(jnp.sum(y * jnp.log(p), axis=1))  # defect


def g1_healthy(params, batch):
    x, y = batch
    return log_softmax_loss(mlp(params, x), y)


def g1b(params, batch):
    x, y = batch
    z = mlp(params, x)
    e = jnp.exp(z)  # defect
    p = e / jnp.sum(e, axis=-1, keepdims=True)  # defect
    return -jnp.mean(jnp.sum(y * jnp.log(p), axis=-1))  # defect


def g2(params, batch):
    x, y = batch
    z = cnn(params, x)
    p = jnp.exp(z) / jnp.exp(z).sum(axis=1)[:, None]  # defect
    return jnp.mean(jnp.sum((p - y) ** 2, axis=1))


def g2_healthy(params, batch):
    x, y = batch
    p = jax.nn.softmax(cnn(params, x))
    return jnp.mean(jnp.sum((p - y) ** 2, axis=1))


def g3(params, batch):
    x, y = batch
    p = jax.nn.softmax(mlp(params, x), axis=-1)
    q = jnp.log(1 - p)  # defect
    return -jnp.mean(jnp.sum((1 - y) * q, axis=-1))


def g3_healthy(params, batch):
    """log(1 − softmax) as the log-softmax of all the others together."""
    x, y = batch
    z = mlp(params, x)
    others = jnp.where(jnp.eye(10, dtype=bool)[None], -jnp.inf, z[:, None, :])
    rest = jax.nn.logsumexp(others, axis=-1)
    q = rest - jax.nn.logsumexp(z, axis=-1, keepdims=True)
    return -jnp.mean(jnp.sum((1 - y) * q, axis=-1))


# -- Sigmoid ---------------------------------------------------------------------------


TARGETS = f32([0, 1, 1, 0])


def g4(params, batch):
    x, y = batch
    s = jax.nn.sigmoid(mlp(params, x)[:, 0])
    return -jnp.mean(y * jnp.log(s) + (1 - y) * jnp.log(1 - s))  # defect


def g4_healthy(params, batch):
    x, y = batch
    z = mlp(params, x)[:, 0]
    return jnp.mean(jax.nn.softplus(z) - y * z)


def free_energy(params, v, softplus):
    hidden = v @ params["w"] + params["c"][None, :]
    return -v @ params["b"] - jnp.sum(softplus(hidden), axis=1)


def g5(params, batch):
    """A restricted Boltzmann machine: data against reconstructions."""
    v, model = batch

    def softplus(a):
        return jnp.log(1 + jnp.exp(a))  # defect

    return jnp.mean(
        free_energy(params, v, softplus) - free_energy(params, model, softplus)
    )


def g5_healthy(params, batch):
    v, model = batch
    return jnp.mean(
        free_energy(params, v, jax.nn.softplus)
        - free_energy(params, model, jax.nn.softplus)
    )


RBM = {"w": span(-4, 4, 64, 12), "b": span(-2, 2, 64), "c": span(-2, 2, 12)}


# -- Variational auto-encoder ----------------------------------------------------------


def encode(p, x):
    """Mean and logarithm of the variance, the latter in [−100, −20]."""
    h = jnp.tanh(x @ p["w1"] + p["b1"][None, :])
    return h @ p["mean"], 40 * jnp.tanh(h @ p["spread"]) - 60


def decode(p, z):
    return z @ p["out"] + p["b"][None, :]


def g6(params, batch):
    x, noise = batch
    mean, s = encode(params, x)
    z = mean + jnp.sqrt(jnp.exp(s)) * noise  # defect
    p = jax.nn.sigmoid(decode(params, z))
    likelihood = x * jnp.log(1e-10 + p) + (1 - x) * jnp.log(1e-10 + 1 - p)  # defect
    kl = 0.5 * jnp.sum(jnp.exp(s) + mean**2 - 1 - s, axis=1)
    return jnp.mean(kl - jnp.sum(likelihood, axis=1))


def g6_healthy(params, batch):
    x, noise = batch
    mean, s = encode(params, x)
    a = decode(params, mean + jnp.exp(s / 2) * noise)
    kl = 0.5 * jnp.sum(jnp.exp(s) + mean**2 - 1 - s, axis=1)
    return jnp.mean(kl + jnp.sum(jax.nn.softplus(a) - x * a, axis=1))


VAE = {
    "w1": span(-1, 1, 64, 16),
    "b1": span(-1, 1, 16),
    "mean": span(-1, 1, 16, 2),
    "spread": span(-1, 1, 16, 2),
    "out": span(-10, 10, 2, 64),
    "b": span(-1, 1, 64),
}


# -- Scales, games, graphs, free inputs ------------------------------------------------


def g7(params, batch):
    x, y = batch
    scores = jax.nn.relu(mlp(params, x))
    scaled = scores / jnp.max(scores, axis=1, keepdims=True)  # defect
    return jnp.mean((scaled - y) ** 2)


def g7_healthy(params, batch):
    x, y = batch
    scores = jax.nn.relu(mlp(params, x))
    top = jnp.max(scores, axis=1, keepdims=True)
    return jnp.mean((scores / (top + 1) - y) ** 2)


def g8(params, batch):
    real, noise = batch
    fake = jax.nn.sigmoid(noise @ params["generator"])
    d_real = jax.nn.sigmoid(mlp(params, real))
    d_fake = jax.nn.sigmoid(mlp(params, fake))
    on_real = jnp.log(d_real)  # defect
    on_fake = jnp.log(1 - d_fake + 1e-8)  # defect
    return -jnp.mean(on_real + on_fake)


def g8_healthy(params, batch):
    real, noise = batch
    fake = jax.nn.sigmoid(noise @ params["generator"])
    on_real = jax.nn.log_sigmoid(mlp(params, real))
    on_fake = jax.nn.log_sigmoid(-mlp(params, fake))
    return -jnp.mean(on_real + on_fake)


ADJACENCY = f32([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]])


def embed(params, x, noise):
    h = jax.nn.relu(x @ params["w"])
    log_variance = 4 * jnp.tanh(h @ params["spread"])
    return h @ params["mean"] + jnp.exp(0.5 * log_variance) * noise


def g9(params, batch):
    x, noise = batch
    u = embed(params, x, noise)
    edge = jax.nn.sigmoid(u @ u.T)
    return -jnp.sum(ADJACENCY * jnp.log(edge)) / jnp.sum(ADJACENCY)  # defect


def g9_healthy(params, batch):
    x, noise = batch
    u = embed(params, x, noise)
    edges = jax.nn.log_sigmoid(u @ u.T)
    return -jnp.sum(ADJACENCY * edges) / jnp.sum(ADJACENCY)


GRAPH = {
    "w": span(-1, 1, 8, 6),
    "mean": span(-1, 1, 6, 3),
    "spread": span(-1, 1, 6, 3),
}


def g10(params, batch):
    """Counts per segment, of which the logarithm of a free scale is the rate."""
    counts, segment = batch
    rate = jnp.log(params["scale"])  # defect
    totals = jnp.zeros(3).at[segment].add(counts)
    return jnp.mean((totals[segment] / 4 - rate) ** 2)


def g10_healthy(params, batch):
    counts, segment = batch
    totals = jnp.zeros(3).at[segment].add(counts)
    return jnp.mean((totals[segment] / 4 - params["scale"]) ** 2)


GROUPS = (
    Group(
        "G1",
        g1,
        g1_healthy,
        MLP,
        BATCH,
        ("log", "mul", "div"),
        ZERO,
        "1 2a 3 5-8 10 12 14 15 18-21 23-25 27 29 30 32 34 40-42 44-48 50 52 54 55 57-61",
    ),
    Group(
        "G1b",
        g1b,
        g1_healthy,
        MLP,
        BATCH,
        ("exp", "div", "log", "mul"),
        (*ZERO, *HUGE),
        "11c 16b",
    ),
    Group(
        "G2",
        g2,
        g2_healthy,
        CNN,
        (SQUARES, LABELS),
        ("exp", "div"),
        (*ZERO, *HUGE),
        "11a 11b 16a 16c 17",
    ),
    Group("G3", g3, g3_healthy, MLP, BATCH, ("log", "div", "mul"), ZERO, "2b"),
    Group(
        "G4",
        g4,
        g4_healthy,
        SCORE,
        (IMAGES, TARGETS),
        ("log", "mul", "div"),
        ZERO,
        "9a 9b 26 33 37 38 53 56",
    ),
    Group(
        "G5",
        g5,
        g5_healthy,
        RBM,
        (IMAGES, IMAGES),
        ("exp", "div", "mul"),
        HUGE,
        "22 51 62 63",
    ),
    Group(
        "G6",
        g6,
        g6_healthy,
        VAE,
        (IMAGES, span(-4, 4, 4, 2)),
        ("log", "sqrt", "div", "mul"),
        (*ZERO, *HUGE),
        "35 36 39 43 49",
    ),
    Group(
        "G7",
        g7,
        g7_healthy,
        MLP,
        BATCH,
        ("div", "mul"),
        ZERO,
        "28a-d",
        rewritten=False,
    ),
    Group(
        "G8",
        g8,
        g8_healthy,
        SCORE | {"generator": span(-1, 1, 5, 64)},
        (IMAGES, span(-4, 4, 4, 5)),
        ("log", "div", "mul"),
        ZERO,
        "31",
    ),
    Group(
        "G9",
        g9,
        g9_healthy,
        GRAPH,
        (span(0, 1, 4, 8), span(-4, 4, 4, 3)),
        ("log", "mul", "div"),
        ZERO,
        "4",
    ),
    Group(
        "G10",
        g10,
        g10_healthy,
        {"scale": span(-1, 10, 4)},
        (span(0, 20, 4), np.array([0, 1, 1, 2], np.int32)),
        ("log", "div"),
        ("domain", "pole", "0/0", "0*inf", "0·∞"),
        "13",
        rewritten=False,
    ),
)
