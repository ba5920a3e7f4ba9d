"""The small rows of the catalogue: functions that show one thing, and linear networks.

Of the first the critical point is the origin,

    ∇f(0) = 0;                                                               (1)

the points of the networks are computed from the closed forms in `networks`, and the
spectra with them.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.
"""

from collections.abc import Callable

from . import networks, surfaces
from ._function import Function, Point, row
from .surfaces import Scalar, Vector


def _deep_scalar(depth: int) -> Function:
    """The chain of scalar weights."""
    return row(
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
    return row(name, fun, *starts, lower=-1.5, upper=1.5, points=(point,), about=about)


O1, O2 = (0.0,), (0.0, 0.0)

MODELS: tuple[Function, ...] = (
    _small(
        "saddle",
        surfaces.saddle,
        Point(O2, "saddle", 0.0, (-2.0, 2.0)),
        "x² − y², unbounded below.",
    ),
    row(
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
        "x² − y⁴, a way down along the flat direction.",
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
    row(
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
    row(
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
    row(
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
