"""The table of the least-squares problems: starts and known sums of squares.

The second start is ten times the first, as in the paper, but for two problems: of
Watson's the first is zero, and the second has ten in every place, as in the authors'
own program; of Gulf's ten times the first is the solution, and the second is twice it.

The least sums of squares are, where they are not zero,

    m − n,     m (m − 1) / (2 (2m + 1)),     (m² + 3m − 6) / (2 (2m − 3))    (1)

of the linear problems (32), (33), (34), and otherwise computed in float64, where they
agree with the six digits of the paper. Further ones are of other local minima; a few
are infima, approached where parameters grow without limit.

References
    Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software.
"""

from collections.abc import Callable
from typing import NamedTuple

from . import _curve_fits as fits, _systems as systems
from ._curve_fits import Residual, Vector


class Row(NamedTuple):
    """A problem as it stands in the table."""

    number: int
    name: str
    residuals: Callable[[Vector], Residual]
    m: int
    starts: tuple[tuple[float, ...], ...]
    minima: tuple[float, ...]


def _row(
    number: int,
    name: str,
    residuals: Callable[[Vector], Residual],
    m: int,
    start: tuple[float, ...],
    *minima: float,
    second: tuple[float, ...] | None = None,
) -> Row:
    """A row whose second start is ten times the first unless it is given."""
    far = tuple(10 * v for v in start) if second is None else second
    return Row(number, name, residuals, m, (start, far), minima or (0.0,))


def _grid(n: int) -> tuple[float, ...]:
    """Equidistant points t_i = i/(n + 1)."""
    return tuple(i / (n + 1) for i in range(1, n + 1))


_BIGGS = (1.0, 2.0, 1.0, 1.0, 1.0, 1.0)
_OSBORNE_2 = (1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5)
_PARABOLA = tuple(t * (t - 1) for t in _grid(10))

TABLE: tuple[Row, ...] = (
    _row(1, "rosenbrock", systems.rosenbrock, 2, (-1.2, 1.0)),
    _row(
        2,
        "freudenstein-roth",
        systems.freudenstein_roth,
        2,
        (0.5, -2.0),
        0.0,
        48.98425367924002,
    ),
    _row(3, "powell-badly-scaled", systems.powell_badly_scaled, 2, (0.0, 1.0)),
    _row(4, "brown-badly-scaled", systems.brown_badly_scaled, 3, (1.0, 1.0)),
    _row(5, "beale", systems.beale, 3, (1.0, 1.0)),
    _row(6, "jennrich-sampson", fits.jennrich_sampson, 10, (0.3, 0.4), 124.362),
    _row(7, "helical-valley", systems.helical_valley, 3, (-1.0, 0.0, 0.0)),
    _row(8, "bard", fits.bard, 15, (1.0, 1.0, 1.0), 8.21487e-3, 17.4286),
    _row(9, "gaussian", fits.gaussian, 15, (0.4, 1.0, 0.0), 1.12793e-8),
    _row(10, "meyer", fits.meyer, 16, (0.02, 4000.0, 250.0), 87.9458),
    _row(11, "gulf", fits.gulf, 99, (5.0, 2.5, 0.15), second=(10.0, 5.0, 0.3)),
    _row(12, "box", fits.box, 10, (0.0, 10.0, 20.0)),
    _row(13, "powell-singular", systems.powell_singular, 4, (3.0, -1.0, 0.0, 1.0)),
    _row(14, "wood", systems.wood, 6, (-3.0, -1.0, -3.0, -1.0)),
    _row(
        15,
        "kowalik-osborne",
        fits.kowalik_osborne,
        11,
        (0.25, 0.39, 0.415, 0.39),
        3.07505e-4,
        1.02734e-3,
    ),
    _row(16, "brown-dennis", fits.brown_dennis, 20, (25.0, 5.0, -5.0, -1.0), 85822.2),
    _row(17, "osborne-1", fits.osborne_1, 33, (0.5, 1.5, -1.0, 0.01, 0.02), 5.46489e-5),
    _row(18, "biggs-exp6", fits.biggs_exp6, 13, _BIGGS, 0.0, 5.65565e-3),
    _row(19, "osborne-2", fits.osborne_2, 65, _OSBORNE_2, 4.01377e-2),
    _row(
        20, "watson-6", systems.watson, 31, (0.0,) * 6, 2.28767e-3, second=(10.0,) * 6
    ),
    _row(
        20, "watson-9", systems.watson, 31, (0.0,) * 9, 1.39976e-6, second=(10.0,) * 9
    ),
    _row(
        20,
        "watson-12",
        systems.watson,
        31,
        (0.0,) * 12,
        4.72238e-10,
        second=(10.0,) * 12,
    ),
    _row(21, "extended-rosenbrock-10", systems.rosenbrock, 10, (-1.2, 1.0) * 5),
    _row(
        22, "extended-powell-12", systems.powell_singular, 12, (3.0, -1.0, 0.0, 1.0) * 3
    ),
    _row(23, "penalty-1-4", systems.penalty_1, 5, (1.0, 2.0, 3.0, 4.0), 2.24997e-5),
    _row(
        23,
        "penalty-1-10",
        systems.penalty_1,
        11,
        tuple(map(float, range(1, 11))),
        7.08765e-5,
    ),
    _row(24, "penalty-2-4", systems.penalty_2, 8, (0.5,) * 4, 9.37629e-6),
    _row(24, "penalty-2-10", systems.penalty_2, 20, (0.5,) * 10, 2.93660e-4),
    _row(
        25,
        "variably-dimensioned-10",
        systems.variably_dimensioned,
        12,
        tuple(1 - i / 10 for i in range(1, 11)),
    ),
    _row(
        26, "trigonometric-10", systems.trigonometric, 10, (0.1,) * 10, 0.0, 2.79506e-5
    ),
    _row(
        27,
        "brown-almost-linear-10",
        systems.brown_almost_linear,
        10,
        (0.5,) * 10,
        0.0,
        1.0,
    ),
    _row(
        28, "discrete-boundary-value-10", systems.discrete_boundary_value, 10, _PARABOLA
    ),
    _row(29, "discrete-integral-10", systems.discrete_integral, 10, _PARABOLA),
    _row(30, "broyden-tridiagonal-10", systems.broyden_tridiagonal, 10, (-1.0,) * 10),
    _row(31, "broyden-banded-10", systems.broyden_banded, 10, (-1.0,) * 10),
    _row(32, "linear-full-rank-5", systems.linear_full_rank, 10, (1.0,) * 5, 5.0),
    _row(33, "linear-rank-one-5", systems.linear_rank_one, 10, (1.0,) * 5, 90 / 42),
    _row(
        34,
        "linear-rank-one-zeros-5",
        systems.linear_rank_one_zeros,
        10,
        (1.0,) * 5,
        124 / 34,
    ),
    _row(35, "chebyquad-7", systems.chebyquad, 7, _grid(7)),
    _row(35, "chebyquad-8", systems.chebyquad, 8, _grid(8), 3.51687e-3),
    _row(35, "chebyquad-9", systems.chebyquad, 9, _grid(9)),
    _row(35, "chebyquad-10", systems.chebyquad, 10, _grid(10), 4.77271e-3, 6.50395e-3),
)
