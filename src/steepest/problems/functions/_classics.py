"""The classical surfaces of the catalogue: where to start, where to look, what is there.

A row joins a function, whose formula is in `surfaces` or `separable`, with its critical
points, at which

    ∇f(x) = 0.                                                               (1)

References
    Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software.
    Jamil & Yang (2013), A literature survey of benchmark functions.
"""

from . import separable, surfaces
from ._function import Function, Point, row
from ._points import POINTS


def _rosenbrock(n: int) -> Function:
    """Rosenbrock's function in n variables, from two sides of the ridge."""
    start = tuple(-1.2 if i % 2 == 0 else 1.0 for i in range(n))
    return row(
        f"rosenbrock-{n}",
        surfaces.rosenbrock,
        start,
        (-1.0, *(1.0,) * (n - 1)),
        lower=-2.0,
        upper=2.0,
        points=POINTS[f"rosenbrock-{n}"],
        about="A chain of curved valleys with a second minimum that is not the lowest "
        "(Rosenbrock 1960; Kok & Sandrock 2009).",
    )


CLASSICS: tuple[Function, ...] = (
    row(
        "rosenbrock",
        surfaces.rosenbrock,
        (-1.2, 1.0),
        (-12.0, 10.0),
        lower=(-2.0, -1.0),
        upper=(2.0, 3.0),
        points=POINTS["rosenbrock"],
        about="A curved, flat valley; its only critical point is the minimum "
        "(Rosenbrock 1960).",
    ),
    *(_rosenbrock(n) for n in (4, 5, 6, 7)),
    row(
        "himmelblau",
        surfaces.himmelblau,
        (0.0, 0.0),
        (-1.0, -2.0),
        lower=-5.0,
        upper=5.0,
        points=POINTS["himmelblau"],
        about="Four minima of value 0, four saddles, one maximum, and no more "
        "(Himmelblau 1972).",
    ),
    row(
        "six-hump-camel",
        surfaces.six_hump_camel,
        (1.2, 0.15),
        (-1.5, 0.2),
        lower=(-2.0, -1.1),
        upper=(2.0, 1.1),
        points=POINTS["six-hump-camel"],
        about="All its 15 critical points: six minima, seven saddles, two maxima "
        "(Dixon & Szegö 1978).",
    ),
    row(
        "three-hump-camel",
        surfaces.three_hump_camel,
        (1.2, 0.5),
        (-2.0, -1.0),
        lower=-2.5,
        upper=2.5,
        points=POINTS["three-hump-camel"],
        about="All its five critical points: three minima and two saddles "
        "(Dixon & Szegö 1978).",
    ),
    row(
        "mueller-brown",
        surfaces.mueller_brown,
        (-0.5, 0.5),
        (0.2, 0.3),
        lower=(-1.5, -0.5),
        upper=(1.2, 2.0),
        points=POINTS["mueller-brown"],
        about="Three wells and the two passes between them, all of its domain "
        "(Müller & Brown 1979).",
    ),
    row(
        "beale",
        surfaces.beale,
        (1.0, 1.0),
        (10.0, 10.0),
        lower=-4.5,
        upper=4.5,
        points=POINTS["beale"],
        about="A minimum at the end of a flat valley, and two saddles, all of its "
        "domain (Beale 1958).",
    ),
    row(
        "wood",
        surfaces.wood,
        (-3.0, -1.0, -3.0, -1.0),
        (-30.0, -10.0, -30.0, -10.0),
        lower=-3.5,
        upper=3.5,
        points=POINTS["wood"],
        about="A minimum, and on the way to it a saddle of slight negative curvature "
        "where methods stop (Colville 1968).",
    ),
    row(
        "powell-singular",
        surfaces.powell_singular,
        (3.0, -1.0, 0.0, 1.0),
        (30.0, -10.0, 0.0, 10.0),
        lower=-4.0,
        upper=4.0,
        points=(Point((0.0,) * 4, "degenerate minimum", 0.0, (0.0, 0.0, 20.0, 202.0)),),
        about="A minimum with two vanishing eigenvalues, its only critical point "
        "(Powell 1962).",
    ),
    row(
        "freudenstein-roth",
        surfaces.freudenstein_roth,
        (0.5, -2.0),
        (5.0, -20.0),
        lower=(-10.0, -3.0),
        upper=(30.0, 6.0),
        points=POINTS["freudenstein-roth"],
        about="All its three critical points: the minimum, a poor one that attracts "
        "more, and the saddle between (Freudenstein & Roth 1963).",
    ),
    row(
        "branin",
        surfaces.branin,
        (2.5, 7.5),
        (0.0, 5.0),
        lower=(-5.0, 0.0),
        upper=(10.0, 15.0),
        points=POINTS["branin"],
        about="Three equal minima and the saddles between them, all of its domain "
        "(Branin 1972).",
    ),
    row(
        "goldstein-price",
        surfaces.goldstein_price,
        (1.0, 0.0),
        (-1.0, 1.0),
        lower=-2.0,
        upper=2.0,
        points=POINTS["goldstein-price"],
        about="Four minima, four saddles and a maximum, all of its domain, with "
        "values from 3 to a million (Goldstein & Price 1971).",
    ),
    *(
        row(
            f"styblinski-tang-{n}",
            separable.styblinski_tang,
            (0.0,) * n,
            (0.3,) * n,
            lower=-5.0,
            upper=5.0,
            points=separable.products(separable.STYBLINSKI_TANG, n),
            about=f"All its {3**n} critical points; two of three roots in each "
            "coordinate are minima (Styblinski & Tang 1990).",
        )
        for n in (1, 2, 3)
    ),
    row(
        "rastrigin-2",
        separable.rastrigin,
        (0.4, -0.3),
        (3.3, -4.2),
        lower=-1.2,
        upper=1.2,
        points=separable.products(separable.RASTRIGIN, 2),
        about="A grid of minima, maxima and saddles, all of its domain "
        "(Rastrigin 1974).",
    ),
    row(
        "rastrigin-10",
        separable.rastrigin,
        tuple(0.1 * i for i in range(10)),
        (3.3,) * 10,
        lower=-5.12,
        upper=5.12,
        points=separable.products(separable.RASTRIGIN[2:3], 10),
        about="Ten equal eigenvalues at the lowest minimum, the only point labelled "
        "(Rastrigin 1974).",
    ),
)
