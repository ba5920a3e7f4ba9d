"""Sums of one function of each coordinate, all of whose critical points are known.

Of f(x) = Σ_i g(x_i) the gradient is g'(x_i) and the Hessian the diagonal of g''(x_i):

    x is critical  ⇔  every x_i is a root of g',   λ_i(H) = g''(x_i).        (1)

With r roots there are rⁿ critical points, and as many roots in which g'' < 0 as there
are negative eigenvalues. For a network: of the critical points of functions of many
variables nearly all are saddles, as are those of (2) but for a share of (2/3)ⁿ + 3⁻ⁿ.

    styblinski-tang   g(t) = ½ (t⁴ − 16t² + 5t)                              (2)
    rastrigin         g(t) = 10 + t² − 10 cos 2πt                            (3)

References
    Styblinski & Tang (1990), Experiments in nonconvex optimization.         -- (2)
    Rastrigin (1974), Systems of extremal control.                           -- (3)
    Dauphin et al. (2014), Identifying and attacking the saddle point problem.
    Goodfellow, Bengio & Courville (2016), Deep Learning, §8.2.3.
"""

import itertools
import math

import jax.numpy as jnp

from ._function import Kind, Point
from .surfaces import Scalar, Vector


#: Root t of g', g(t), g''(t).
Root = tuple[float, float, float]

STYBLINSKI_TANG: tuple[Root, ...] = (
    (-2.903534027771177, -39.16616570377141, 34.583059102550685),
    (0.1567312567803401, 0.19561235905535806, -15.85261187888833),
    (2.746802770990837, -25.02944665528394, 29.269552776337644),
)

#: The five roots nearest to zero; there are 63.
RASTRIGIN: tuple[Root, ...] = (
    (-0.9949586376523348, 0.9949590570932914, 396.5861378338349),
    (-0.5025460365546747, 20.251272990990113, -392.7336623081164),
    (0.0, 0.0, 396.78417604357435),
    (0.5025460365546747, 20.251272990990113, -392.7336623081164),
    (0.9949586376523348, 0.9949590570932914, 396.5861378338349),
)


def styblinski_tang(x: Vector) -> Scalar:
    """The sum of (2), in any number of variables; 3ⁿ critical points."""
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


def rastrigin(x: Vector) -> Scalar:
    """The sum of (3), in any number of variables: a bowl of many small ones."""
    return jnp.sum(10 + x**2 - 10 * jnp.cos(2 * math.pi * x))


def products(roots: tuple[Root, ...], n: int) -> tuple[Point, ...]:
    """All critical points (1) of the sum in n variables, by their coordinates."""
    points = []
    for chosen in itertools.product(roots, repeat=n):
        x, values, curvatures = zip(*chosen)
        spectrum = tuple(sorted(curvatures))
        kind: Kind = "saddle"
        if spectrum[0] > 0:
            kind = "minimum"
        elif spectrum[-1] < 0:
            kind = "maximum"
        points.append(Point(x, kind, math.fsum(values), spectrum))
    return tuple(points)
