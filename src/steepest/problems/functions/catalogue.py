"""Every named test function, with the critical points that are known of it.

A method that claims to have found a minimum can be held to this list: at each point

    ∇f(x) = 0,     λ_1 ≤ … ≤ λ_n the spectrum of H(x),                       (1)

to the last digits of float64, and the kind of the point with it. A claim "minimum" at a
point that is labelled a saddle is false; a claim about a degenerate point that rests on
H alone is a guess.

References
    Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software.
    Jamil & Yang (2013), A literature survey of benchmark functions.
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3, 8.2.
"""

from collections.abc import Callable
from dataclasses import replace

from . import networks, separable, surfaces
from ._function import Function, Point, of_vectors, unknown
from ._points import POINTS
from .surfaces import Scalar, Vector


def names() -> tuple[str, ...]:
    """The names of all test functions, in the order of the catalogue."""
    return tuple(f.name for f in FUNCTIONS)


def get(name: str) -> Function:
    """The test function of that name.

    Its `fun` takes a vector of shape (n,) of any floating-point dtype and computes in
    it; for other input it raises `InputError`.

    Raises `InputError`, with the nearest names, for one that does not exist.
    """
    for function in FUNCTIONS:
        if function.name == name:
            fun = of_vectors(function.fun, name, function.n)
            return replace(function, fun=fun)
    raise unknown(name, names(), "test function", "steepest.problems.functions.names()")


def _make(
    name: str,
    fun: Callable[[Vector], Scalar],
    *starts: tuple[float, ...],
    about: str,
    lower: float | tuple[float, ...],
    upper: float | tuple[float, ...],
    points: tuple[Point, ...] | None = None,
) -> Function:
    """A row of the catalogue; bounds may be given as one number for all variables."""
    n = len(starts[0])
    low = lower if isinstance(lower, tuple) else (lower,) * n
    high = upper if isinstance(upper, tuple) else (upper,) * n
    points = POINTS[name] if points is None else points
    return Function(name, fun, starts, (low, high), points, about)


def _rosenbrock(n: int) -> Function:
    """Rosenbrock's function in n variables, from two sides of the ridge."""
    start = tuple(-1.2 if i % 2 == 0 else 1.0 for i in range(n))
    return _make(
        f"rosenbrock-{n}",
        surfaces.rosenbrock,
        start,
        (-1.0, *(1.0,) * (n - 1)),
        lower=-2.0,
        upper=2.0,
        about="A chain of curved valleys with a second minimum that is not the lowest "
        "(Rosenbrock 1960; Kok & Sandrock 2009).",
    )


def _deep_scalar(depth: int) -> Function:
    """The chain of scalar weights."""
    return _make(
        f"deep-scalar-{depth}",
        networks.deep_scalar,
        tuple(0.1 + 0.1 * i for i in range(depth)),
        (1.5,) * depth,
        lower=-2.0,
        upper=4.0,
        points=networks.deep_scalar_points(depth),
        about=f"{depth} scalar weights whose product must be 2, all of whose minima "
        "are degenerate (Kawaguchi 2016).",
    )


def _small(
    name: str, fun: Callable[[Vector], Scalar], point: Point, about: str
) -> Function:
    """A function that shows one thing, at the origin."""
    n = len(point.x)
    starts = ((1.0,) * n, tuple(0.5 - 0.75 * i for i in range(n)))
    return _make(
        name, fun, *starts, lower=-1.5, upper=1.5, points=(point,), about=about
    )


O1, O2 = (0.0,), (0.0, 0.0)

FUNCTIONS: tuple[Function, ...] = (
    _make(
        "rosenbrock",
        surfaces.rosenbrock,
        (-1.2, 1.0),
        (-12.0, 10.0),
        lower=(-2.0, -1.0),
        upper=(2.0, 3.0),
        about="A curved, flat valley; its only critical point is the minimum "
        "(Rosenbrock 1960).",
    ),
    *(_rosenbrock(n) for n in (4, 5, 6, 7)),
    _make(
        "himmelblau",
        surfaces.himmelblau,
        (0.0, 0.0),
        (-1.0, -2.0),
        lower=-5.0,
        upper=5.0,
        about="Four minima of value 0, four saddles, one maximum, and no more "
        "(Himmelblau 1972).",
    ),
    _make(
        "six-hump-camel",
        surfaces.six_hump_camel,
        (1.2, 0.15),
        (-1.5, 0.2),
        lower=(-2.0, -1.1),
        upper=(2.0, 1.1),
        about="All its 15 critical points: six minima, seven saddles, two maxima "
        "(Dixon & Szegö 1978).",
    ),
    _make(
        "three-hump-camel",
        surfaces.three_hump_camel,
        (1.2, 0.5),
        (-2.0, -1.0),
        lower=-2.5,
        upper=2.5,
        about="All its five critical points: three minima and two saddles "
        "(Dixon & Szegö 1978).",
    ),
    _make(
        "mueller-brown",
        surfaces.mueller_brown,
        (-0.5, 0.5),
        (0.2, 0.3),
        lower=(-1.5, -0.5),
        upper=(1.2, 2.0),
        about="Three wells and the two passes between them, all of its domain "
        "(Müller & Brown 1979).",
    ),
    _make(
        "beale",
        surfaces.beale,
        (1.0, 1.0),
        (10.0, 10.0),
        lower=-4.5,
        upper=4.5,
        about="A minimum at the end of a flat valley, and two saddles, all of its "
        "domain (Beale 1958).",
    ),
    _make(
        "wood",
        surfaces.wood,
        (-3.0, -1.0, -3.0, -1.0),
        (-30.0, -10.0, -30.0, -10.0),
        lower=-3.5,
        upper=3.5,
        about="A minimum, and on the way to it a saddle of slight negative curvature "
        "where methods stop (Colville 1968).",
    ),
    _make(
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
    _make(
        "freudenstein-roth",
        surfaces.freudenstein_roth,
        (0.5, -2.0),
        (5.0, -20.0),
        lower=(-10.0, -3.0),
        upper=(30.0, 6.0),
        about="All its three critical points: the minimum, a poor one that attracts "
        "more, and the saddle between (Freudenstein & Roth 1963).",
    ),
    _make(
        "branin",
        surfaces.branin,
        (2.5, 7.5),
        (0.0, 5.0),
        lower=(-5.0, 0.0),
        upper=(10.0, 15.0),
        about="Three equal minima and the saddles between them, all of its domain "
        "(Branin 1972).",
    ),
    _make(
        "goldstein-price",
        surfaces.goldstein_price,
        (1.0, 0.0),
        (-1.0, 1.0),
        lower=-2.0,
        upper=2.0,
        about="Four minima, four saddles and a maximum, all of its domain, with "
        "values from 3 to a million (Goldstein & Price 1971).",
    ),
    *(
        _make(
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
    _make(
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
    _make(
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
    _small(
        "saddle",
        surfaces.saddle,
        Point(O2, "saddle", 0.0, (-2.0, 2.0)),
        "x² − y², unbounded below.",
    ),
    _make(
        "canyon",
        surfaces.canyon,
        (10.0, 1.0),
        (0.0, 1.0),
        lower=(-11.0, -4.0),
        upper=(11.0, 4.0),
        points=(Point(O2, "minimum", 0.0, (1.0, 10.0)),),
        about="A quadratic of condition number 10, on which exact steepest descent "
        "from the first start gains the factor (9/11)² a step (Akaike 1959).",
    ),
    _small(
        "monkey-saddle",
        surfaces.monkey_saddle,
        Point(O2, "degenerate saddle", 0.0, (0.0, 0.0)),
        "x³ − 3xy², three ways down and no curvature (Hilbert & Cohn-Vossen 1932).",
    ),
    _small(
        "quartic",
        surfaces.quartic,
        Point(O2, "degenerate minimum", 0.0, (0.0, 0.0)),
        "x⁴ + y⁴, a minimum without curvature.",
    ),
    _small(
        "quartic-saddle",
        surfaces.quartic_saddle,
        Point(O2, "degenerate saddle", 0.0, (0.0, 2.0)),
        "x² − y⁴, a way down along the flat direction (Peano 1884).",
    ),
    _small(
        "quartic-valley",
        surfaces.quartic_valley,
        Point(O2, "degenerate minimum", 0.0, (0.0, 2.0)),
        "x² + y⁴, with the Hessian of the quartic saddle, and a minimum.",
    ),
    _small(
        "cubic",
        surfaces.cubic,
        Point(O1, "degenerate saddle", 0.0, (0.0,)),
        "x³ in one variable, critical and monotone.",
    ),
    *(_deep_scalar(depth) for depth in (2, 3, 4)),
    _make(
        "rank-one",
        networks.rank_one,
        (1.0, 1.0, 1.0, 1.0),
        (0.0, 0.1, 0.0, 0.1),
        lower=-2.5,
        upper=2.5,
        points=networks.rank_one_points(),
        about="The nearest xxᵀ to diag(4, 2, 1, ½) with all nine critical points "
        "(Eckart & Young 1936).",
    ),
    _make(
        "two-layer-linear",
        networks.two_layer_linear,
        tuple(0.1 * (-1) ** i * (i + 1) for i in range(12)),
        (0.01,) * 12,
        lower=-2.5,
        upper=2.5,
        points=networks.two_layer_points(),
        about="A linear network 3-2-3 that learns three modes one after another, a "
        "critical point for each set of them (Baldi & Hornik 1989).",
    ),
    _make(
        "three-layer-linear",
        networks.three_layer_linear,
        tuple(0.1 * (-1) ** i * (i + 1) for i in range(12)),
        (0.01,) * 12,
        lower=-2.0,
        upper=2.0,
        points=networks.three_layer_points(),
        about="A linear network of three layers, at whose origin the Hessian "
        "vanishes (Kawaguchi 2016).",
    ),
)
