"""Quantiles of Student's t, for means of few numbers.

The mean of k normal numbers, in units of s/√k, is distributed as t with ν = k − 1 degrees
of freedom. With t = √ν tan θ its distribution is a finite sum,

    P(|T| < t) = sin θ (1 + ½ cos²θ + … + [1·3···(ν−3)]/[2·4···(ν−2)] cos^{ν−2}θ)    (1)

for even ν, and for odd ν

    P(|T| < t) = (2/π) (θ + sin θ (cos θ + ⅔ cos³θ + …
                            + [2·4···(ν−3)]/[3·5···(ν−2)] cos^{ν−2}θ)),              (2)

in which θ is found by bisection. The sums have ν/2 terms; beyond ν = 1000 the expansion
in 1/ν about the normal quantile z is as exact, and shorter:

    t = z + (z³ + z)/4ν + (5z⁵ + 16z³ + 3z)/96ν² + (3z⁷ + 19z⁵ + 17z³ − 15z)/384ν³ + …  (3)

At one degree of freedom, where t = tan(π(p − ½)), (3) would be off by a factor of two.

References
    Abramowitz & Stegun (1964), Handbook of Mathematical Functions, 26.7.3-5.
    Student (1908), The probable error of a mean.
"""

import math
from statistics import NormalDist


MANY = 1000  # degrees of freedom beyond which (3) is exact to 10⁻¹⁰
HALVINGS = 60  # of π/2, to the last digit of θ


def student_quantile(p: float, freedom: int) -> float:
    """The t that a variable of `freedom` ≥ 1 degrees stays below with probability p ≥ ½."""
    if freedom > MANY:
        return _expansion(NormalDist().inv_cdf(p), freedom)
    low, high = 0.0, math.pi / 2
    for _ in range(HALVINGS):
        theta = (low + high) / 2
        below = _within(theta, freedom) < 2 * p - 1
        low, high = (theta, high) if below else (low, theta)
    return freedom**0.5 * math.tan((low + high) / 2)


def _within(theta: float, freedom: int) -> float:
    """P(|T| < √ν tan θ), by (1) or (2)."""
    odd = freedom % 2
    term = math.cos(theta) if odd else 1.0
    total = 0.0
    for j in range(odd + 1, freedom, 2):
        total += term
        term *= math.cos(theta) ** 2 * j / (j + 1)
    if not odd:
        return math.sin(theta) * total
    return 2 / math.pi * (theta + math.sin(theta) * total)


def _expansion(z: float, nu: int) -> float:
    """(3)."""
    return (
        z
        + (z**3 + z) / (4 * nu)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * nu**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * nu**3)
    )
