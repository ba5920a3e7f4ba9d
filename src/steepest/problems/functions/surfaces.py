"""Classical surfaces, on which methods of descent have been tried for sixty years.

    rosenbrock         Σ 100 (x_{i+1} − x_i²)² + (1 − x_i)²                  (1)
    himmelblau         (x² + y − 11)² + (x + y² − 7)²                        (2)
    six-hump camel     (4 − 2.1 x² + x⁴/3) x² + xy + 4 (y² − 1) y²           (3)
    three-hump camel   2x² − 1.05 x⁴ + x⁶/6 + xy + y²                        (4)
    beale              Σ_k (c_k − x (1 − yᵏ))²,  c = 1.5, 2.25, 2.625        (5)
    wood               100 (x₂ − x₁²)² + (1 − x₁)² + 90 (x₄ − x₃²)²
                       + (1 − x₃)² + 10 (x₂ + x₄ − 2)² + (x₂ − x₄)²/10       (6)
    powell singular    (x₁ + 10x₂)² + 5 (x₃ − x₄)² + (x₂ − 2x₃)⁴
                       + 10 (x₁ − x₄)⁴                                       (7)
    freudenstein-roth  (x − 13 + ((5 − y) y − 2) y)²
                       + (x − 29 + ((y + 1) y − 14) y)²                      (8)
    müller-brown       Σ_k A_k exp(a_k u² + b_k uv + c_k v²),
                       u = x − X_k, v = y − Y_k                              (9)
    branin             (y − 5.1/(4π²) x² + 5/π x − 6)²
                       + 10 (1 − 1/(8π)) cos x + 10                          (10)
    goldstein-price    a product of two polynomials of degree four           (11)

and the smallest functions that show one thing each: a canyon ½(x² + κy²), a saddle
x² − y², and points at which the Hessian does not decide: x³ − 3xy², x⁴ + y⁴, x² − y⁴,
x² + y⁴, x³.

What it means for a network: (1) and the canyon are ill-conditioned valleys, in which
the steepest descent is nearly at right angles to the way out; (6) holds every method
that stops on a small gradient at a saddle; in (7) and the last five Newton's method
slows down and no test of curvature is conclusive.

References
    Rosenbrock (1960), An automatic method for finding the greatest or least value of
        a function.                                                          -- (1)
    Himmelblau (1972), Applied Nonlinear Programming.                        -- (2)
    Dixon & Szegö (1978), The global optimization problem.         -- (3), (10), (11)
    Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software.
                                                                       -- (5) to (8)
    Müller & Brown (1979), Location of saddle points and minimum energy paths. -- (9)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


Vector = Float[Array, " n"]
Scalar = Float[Array, ""]


def rosenbrock(x: Vector) -> Scalar:
    """The curved valley (1), in any number of variables n ≥ 2."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def himmelblau(x: Vector) -> Scalar:
    """Four equal minima around one maximum (2); two variables."""
    a, b = x
    return (a**2 + b - 11) ** 2 + (a + b**2 - 7) ** 2


def six_hump_camel(x: Vector) -> Scalar:
    """The six-hump camel back (3); two variables."""
    a, b = x
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + 4 * (b**2 - 1) * b**2


def three_hump_camel(x: Vector) -> Scalar:
    """The three-hump camel back (4); two variables."""
    a, b = x
    return 2 * a**2 - 1.05 * a**4 + a**6 / 6 + a * b + b**2


def beale(x: Vector) -> Scalar:
    """Beale's function (5); two variables."""
    a, b = x
    return (
        (1.5 - a * (1 - b)) ** 2
        + (2.25 - a * (1 - b**2)) ** 2
        + (2.625 - a * (1 - b**3)) ** 2
    )


def wood(x: Vector) -> Scalar:
    """Wood's function (6), four variables: a saddle of slight negative curvature."""
    a, b, c, d = x
    return (
        100 * (b - a**2) ** 2
        + (1 - a) ** 2
        + 90 * (d - c**2) ** 2
        + (1 - c) ** 2
        + 10 * (b + d - 2) ** 2
        + (b - d) ** 2 / 10
    )


def powell_singular(x: Vector) -> Scalar:
    """Powell's function (7), four variables: two eigenvalues vanish at the minimum."""
    a, b, c, d = x
    return (
        (a + 10 * b) ** 2
        + 5 * (c - d) ** 2
        + (b - 2 * c) ** 4
        + 10 * (a - d) ** 4
    )  # fmt: skip


def freudenstein_roth(x: Vector) -> Scalar:
    """A system of two cubics (8), two variables: a poor minimum that attracts."""
    a, b = x
    return (a - 13 + ((5 - b) * b - 2) * b) ** 2 + (
        a - 29 + ((b + 1) * b - 14) * b
    ) ** 2


def mueller_brown(x: Vector) -> Scalar:
    """A model of reaction paths (9), two variables: three wells and two passes."""
    a, b = x
    terms = (
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, 0.5),
        (-170, -6.5, 11, -6.5, -0.5, 1.5),
        (15, 0.7, 0.6, 0.7, -1, 1),
    )
    value = jnp.zeros_like(a)
    for height, p, q, r, at, bt in terms:
        u, v = a - at, b - bt
        value = value + height * jnp.exp(p * u**2 + q * u * v + r * v**2)
    return value


def branin(x: Vector) -> Scalar:
    """Branin's function (10), two variables: three equal minima."""
    a, b = x
    valley = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
    return valley**2 + 10 * (1 - 1 / (8 * math.pi)) * jnp.cos(a) + 10


def goldstein_price(x: Vector) -> Scalar:
    """The product (11), two variables, whose values span six orders of magnitude."""
    a, b = x
    s, t = a + b + 1, 2 * a - 3 * b
    p = 19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2
    q = 18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2
    return (1 + s**2 * p) * (30 + t**2 * q)


def canyon(x: Vector) -> Scalar:
    """The quadratic ½(x² + κy²) with condition number κ = 10."""
    a, b = x
    return (a**2 + 10 * b**2) / 2


def saddle(x: Vector) -> Scalar:
    """x² − y², the plainest saddle."""
    a, b = x
    return a**2 - b**2


def monkey_saddle(x: Vector) -> Scalar:
    """x³ − 3xy²: three ways down from a point without any curvature."""
    a, b = x
    return a**3 - 3 * a * b**2


def quartic(x: Vector) -> Scalar:
    """x⁴ + y⁴: a minimum without any curvature."""
    a, b = x
    return a**4 + b**4


def quartic_saddle(x: Vector) -> Scalar:
    """x² − y⁴: its Hessian at 0 is that of `quartic_valley`, its shape is not."""
    a, b = x
    return a**2 - b**4


def quartic_valley(x: Vector) -> Scalar:
    """x² + y⁴: a minimum in a valley whose floor has no curvature."""
    a, b = x
    return a**2 + b**4


def cubic(x: Vector) -> Scalar:
    """x³ in one variable: a critical point between a way up and a way down."""
    return x[0] ** 3
