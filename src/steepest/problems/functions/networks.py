"""The smallest networks, linear and with every critical point in closed form.

A chain of L scalar weights that must multiply to s has the loss

    f(w) = ½ (Π w_i − s)²,     ∂f/∂w_i = (Π w − s) Π_{j≠i} w_j.              (1)

Its minima Π w = s form a surface, on which H = JᵀJ has the one eigenvalue
Σ_i Π_{j≠i} w_j² = s² Σ_i w_i⁻² that is not zero, L s^(2−2/L) where all w_i are equal;
elsewhere it is critical where two weights or more are zero. At the origin H = 0 as soon
as L ≥ 3: a depth of three is enough for a saddle that no curvature shows.

A vector x whose outer product must be M, symmetric with eigenpairs λ_i, v_i, has

    f(x) = ¼ ‖xxᵀ − M‖²,     H = 2xxᵀ + ‖x‖² I − M,                           (2)

critical at 0, with eigenvalues −λ_i, and at ±√λ_i v_i, with 2λ_i and λ_i − λ_j: the
number of descending directions is the number of λ_j > λ_i.

Two layers that must multiply to S = diag(s_i), through h hidden units,

    f(W₁, W₂) = ½ ‖W₂W₁ − S‖²,                                               (3)

are critical where every unit has learned one mode i, in which case its weights are
√s_i e_i on both sides, or none, in which case they are zero. Of the set I of learned
modes the eigenvalues are

    s_i + s_j and 0          for i, j ∈ I (ordered pairs),
    s_j + s_i and s_j − s_i  for i ∉ I, j ∈ I,                               (4)
    s_i and −s_i             for i ∉ I and each unit that is free,
    0 and 0                  for i ∈ I and each unit that is free.

The loss is ½ Σ s_i² over i ∉ I, and only the set of the h largest modes is a minimum:
all others are strict saddles, the stairs that training goes down. With three layers the
origin is degenerate again, as in (1).

References
    Baldi & Hornik (1989), Neural networks and principal component analysis. -- (3)
    Saxe, McClelland & Ganguli (2014), Exact solutions to the nonlinear dynamics of
        learning in deep linear neural networks.                             -- (3)
    Kawaguchi (2016), Deep learning without poor local minima.               -- (1)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.2.2, 8.2.3.
"""

import itertools
import math

import jax.numpy as jnp

from ._function import Kind, Point
from .surfaces import Scalar, Vector


TARGET = 2.0  # s of (1)
MATRIX = (4.0, 2.0, 1.0, 0.5)  # the diagonal of M in (2)
MODES = (3.0, 2.0, 0.5)  # s_i of (3)
UNITS = 2  # h of (3)
DEEP = (3.0, 2.0)  # s_i for three layers of two units


def deep_scalar(x: Vector) -> Scalar:
    """The chain (1) with s = 2; as deep as there are weights."""
    return (jnp.prod(x) - TARGET) ** 2 / 2


def rank_one(x: Vector) -> Scalar:
    """The factorisation (2) of M = diag(4, 2, 1, ½); four variables."""
    M = jnp.diag(jnp.asarray(MATRIX, x.dtype))
    return jnp.sum((jnp.outer(x, x) - M) ** 2) / 4


def two_layer_linear(x: Vector) -> Scalar:
    """Two layers (3): the rows of W₁ (2 × 3), then those of W₂ (3 × 2)."""
    size = UNITS * len(MODES)
    W1 = x[:size].reshape(UNITS, len(MODES))
    W2 = x[size:].reshape(len(MODES), UNITS)
    return jnp.sum((W2 @ W1 - jnp.diag(jnp.asarray(MODES, x.dtype))) ** 2) / 2


def three_layer_linear(x: Vector) -> Scalar:
    """½ ‖W₃W₂W₁ − diag(3, 2)‖², the rows of three 2 × 2 matrices one after another."""
    W1, W2, W3 = x.reshape(3, 2, 2)
    return jnp.sum((W3 @ W2 @ W1 - jnp.diag(jnp.asarray(DEEP, x.dtype))) ** 2) / 2


def deep_scalar_points(depth: int) -> tuple[Point, ...]:
    """Of (1): balanced and unbalanced minima, the origin, and one edge of saddles."""
    flat = (0.0,) * (depth - 1)
    balanced = TARGET ** (1 / depth)
    sharp = (2 * TARGET, 0.5, *(1.0,) * (depth - 2))
    points = [
        Point(x, "degenerate minimum", 0.0, (*flat, TARGET**2 * sum(1 / w**2 for w in x)))
        for x in [(balanced,) * depth, (-balanced, -balanced, *(balanced,) * (depth - 2)), sharp]
    ]  # fmt: skip
    loss = TARGET**2 / 2
    if depth == 2:
        return (*points, Point((0.0, 0.0), "saddle", loss, (-TARGET, TARGET)))
    zeros = (0.0,) * (depth - 2)
    edge = (0.0, 0.0, *(1.0,) * (depth - 2))
    return (
        *points,
        Point((0.0,) * depth, "degenerate saddle", loss, (0.0,) * depth),
        Point(edge, "saddle", loss, (-TARGET, *zeros, TARGET)),
    )


def rank_one_points() -> tuple[Point, ...]:
    """All nine critical points of (2)."""
    n, total = len(MATRIX), sum(m**2 for m in MATRIX)
    points = [
        Point((0.0,) * n, "maximum", total / 4, tuple(sorted(-m for m in MATRIX)))
    ]
    for i, m in enumerate(MATRIX):
        others = [m - other for j, other in enumerate(MATRIX) if j != i]
        spectrum = tuple(sorted([2 * m, *others]))
        kind: Kind = "minimum" if spectrum[0] > 0 else "saddle"
        for root in (math.sqrt(m), -math.sqrt(m)):
            x = tuple(root if j == i else 0.0 for j in range(n))
            points.append(Point(x, kind, (total - m**2) / 4, spectrum))
    return tuple(points)


def two_layer_points() -> tuple[Point, ...]:
    """One critical point of (3) for each set of at most two of its three modes."""
    points = []
    for size in range(UNITS + 1):
        points += map(_learned, itertools.combinations(range(len(MODES)), size))
    return tuple(points)


def _learned(modes: tuple[int, ...]) -> Point:
    """The critical point of (3) at which these modes are learned, and (4)."""
    n, free = len(MODES), UNITS - len(modes)
    rest = [s for i, s in enumerate(MODES) if i not in modes]
    known = [MODES[i] for i in modes]
    spectrum = [s + t for s in known for t in known]
    spectrum += [t + sign * s for s in rest for t in known for sign in (1, -1)]
    spectrum += [sign * s for s in rest for sign in (1, -1)] * free
    spectrum += [0.0] * (2 * UNITS * n - len(spectrum))
    rows = [
        [math.sqrt(MODES[i]) if i == j else 0.0 for j in range(n)] for i in modes
    ] + [[0.0] * n] * free
    x = [*itertools.chain(*rows), *itertools.chain(*zip(*rows))]
    kind: Kind = "degenerate minimum" if min(spectrum) >= 0 else "saddle"
    loss = sum(s**2 for s in rest) / 2
    return Point(tuple(x), kind, loss, tuple(sorted(spectrum)))


def three_layer_points() -> tuple[Point, ...]:
    """The origin, where H = 0, and the balanced minimum of equal factors."""
    a, b = (s ** (1 / 3) for s in DEEP)
    loss = sum(s**2 for s in DEEP) / 2
    return (
        Point((0.0,) * 12, "degenerate saddle", loss, (0.0,) * 12),
        Point((a, 0.0, 0.0, b) * 3, "degenerate minimum", 0.0),
    )
