"""The table of the least-squares problems: starts and known sums of squares.

The second start is ten times the first, as in the paper, but for two problems: of
Watson's the first is zero, and the second has ten in every place, as in the authors'
own program; of Gulf's ten times the first is the solution, and the second is twice it.

The least sums of squares are, where they are not zero,

    m − n,     m (m − 1) / (2 (2m + 1)),     (m² + 3m − 6) / (2 (2m − 3))    (1)

of the linear problems (32), (33), (34), and otherwise computed to ten digits or more;
they agree with the six of the paper. Of (35) with n = 10 the paper has the second.
Further values are of other local minima, those of the paper and those to which methods
go from near the starts; there may be more. Four are infima, approached from one side
where parameters grow without limit: 10⁻⁸ of (3), 0.452 of (5), 17.43 of (8) and
0.001027 of (15).

Traps are values at which methods stop although there is a way down: plateaus at
infinity of (6), (12) and (19), where exponentials have died out, and of (27) the point
(0, …, 0, n + 1), which the paper lists: along (−s, …, −s, ns) all residuals stay but
the last, which is −1 − s⁹ (11 + 10s) for n = 10, so that f sinks for small s < 0.

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
    traps: tuple[float, ...]


def _row(
    number: int,
    name: str,
    residuals: Callable[[Vector], Residual],
    m: int,
    start: tuple[float, ...],
    *minima: float,
    second: tuple[float, ...] | None = None,
    traps: tuple[float, ...] = (),
) -> Row:
    """A row whose second start is ten times the first unless it is given."""
    far = tuple(10 * v for v in start) if second is None else second
    return Row(number, name, residuals, m, (start, far), minima or (0.0,), traps)


def _grid(n: int) -> tuple[float, ...]:
    """Equidistant points t_i = i/(n + 1)."""
    return tuple(i / (n + 1) for i in range(1, n + 1))


_BIGGS = (1.0, 2.0, 1.0, 1.0, 1.0, 1.0)
_OSBORNE_2 = (1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5)
_PARABOLA = tuple(t * (t - 1) for t in _grid(10))

# fmt: off
TABLE: tuple[Row, ...] = (
    _row(1, "rosenbrock", systems.rosenbrock, 2, (-1.2, 1.0)),
    _row(2, "freudenstein-roth", systems.freudenstein_roth, 2, (0.5, -2.0), 0.0, 48.98425367924002),
    _row(3, "powell-badly-scaled", systems.powell_badly_scaled, 2, (0.0, 1.0), 0.0, 1e-8),
    _row(4, "brown-badly-scaled", systems.brown_badly_scaled, 3, (1.0, 1.0)),
    _row(5, "beale", systems.beale, 3, (1.0, 1.0), 0.0, 14.203125 - 13.875**2 / 14),
    _row(6, "jennrich-sampson", fits.jennrich_sampson, 10, (0.3, 0.4), 124.36218235561479, traps=(259.580190134253, 2020.0)),
    _row(7, "helical-valley", systems.helical_valley, 3, (-1.0, 0.0, 0.0)),
    _row(8, "bard", fits.bard, 15, (1.0, 1.0, 1.0), 0.008214877306578976, 17.428693333333333),
    _row(9, "gaussian", fits.gaussian, 15, (0.4, 1.0, 0.0), 1.127932769618648e-8),
    _row(10, "meyer", fits.meyer, 16, (0.02, 4000.0, 250.0), 87.94585517085112),
    _row(11, "gulf", fits.gulf, 99, (5.0, 2.5, 0.15), second=(10.0, 5.0, 0.3)),
    _row(12, "box", fits.box, 10, (0.0, 10.0, 20.0), traps=(0.07558874075499739,)),
    _row(13, "powell-singular", systems.powell_singular, 4, (3.0, -1.0, 0.0, 1.0)),
    _row(14, "wood", systems.wood, 6, (-3.0, -1.0, -3.0, -1.0)),
    _row(15, "kowalik-osborne", fits.kowalik_osborne, 11, (0.25, 0.39, 0.415, 0.39), 3.075056038492375e-4, 4.236746264698e-4, 0.001027343048695458),
    _row(16, "brown-dennis", fits.brown_dennis, 20, (25.0, 5.0, -5.0, -1.0), 85822.20162635628),
    _row(17, "osborne-1", fits.osborne_1, 33, (0.5, 1.5, -1.0, 0.01, 0.02), 5.464894697483e-5),
    _row(18, "biggs-exp6", fits.biggs_exp6, 13, _BIGGS, 0.0, 0.005655649925499924),
    _row(19, "osborne-2", fits.osborne_2, 65, _OSBORNE_2, 0.0401377362935477, 0.0875947240934158, 0.1240979378611383, 0.3012175922978756, traps=(1.789813586881,)),
    _row(20, "watson-6", systems.watson, 31, (0.0,) * 6, 0.002287670053552436, second=(10.0,) * 6),
    _row(20, "watson-9", systems.watson, 31, (0.0,) * 9, 1.399760138099020e-6, second=(10.0,) * 9),
    _row(20, "watson-12", systems.watson, 31, (0.0,) * 12, 4.722381105891757e-10, second=(10.0,) * 12),
    _row(21, "extended-rosenbrock-10", systems.rosenbrock, 10, (-1.2, 1.0) * 5),
    _row(22, "extended-powell-12", systems.powell_singular, 12, (3.0, -1.0, 0.0, 1.0) * 3),
    _row(23, "penalty-1-4", systems.penalty_1, 5, (1.0, 2.0, 3.0, 4.0), 2.2499775008999e-5),
    _row(23, "penalty-1-10", systems.penalty_1, 11, tuple(map(float, range(1, 11))), 7.0876514670904e-5),
    _row(24, "penalty-2-4", systems.penalty_2, 8, (0.5,) * 4, 9.376293007355e-6),
    _row(24, "penalty-2-10", systems.penalty_2, 20, (0.5,) * 10, 2.93660537456746e-4),
    _row(25, "variably-dimensioned-10", systems.variably_dimensioned, 12, tuple(1 - i / 10 for i in range(1, 11))),
    _row(26, "trigonometric-10", systems.trigonometric, 10, (0.1,) * 10, 0.0, 4.473565812813e-7, 2.7950561218804e-5, 4.21863388792e-5),
    _row(27, "brown-almost-linear-10", systems.brown_almost_linear, 10, (0.5,) * 10, traps=(1.0,)),
    _row(28, "discrete-boundary-value-10", systems.discrete_boundary_value, 10, _PARABOLA),
    _row(29, "discrete-integral-10", systems.discrete_integral, 10, _PARABOLA),
    _row(30, "broyden-tridiagonal-10", systems.broyden_tridiagonal, 10, (-1.0,) * 10),
    _row(31, "broyden-banded-10", systems.broyden_banded, 10, (-1.0,) * 10, 0.0, 2.680219920726136),
    _row(32, "linear-full-rank-5", systems.linear_full_rank, 10, (1.0,) * 5, 5.0),
    _row(33, "linear-rank-one-5", systems.linear_rank_one, 10, (1.0,) * 5, 90 / 42),
    _row(34, "linear-rank-one-zeros-5", systems.linear_rank_one_zeros, 10, (1.0,) * 5, 124 / 34),
    _row(35, "chebyquad-7", systems.chebyquad, 7, _grid(7)),
    _row(35, "chebyquad-8", systems.chebyquad, 8, _grid(8), 0.003516873725677936),
    _row(35, "chebyquad-9", systems.chebyquad, 9, _grid(9)),
    _row(35, "chebyquad-10", systems.chebyquad, 10, _grid(10), 0.0047727136963753546, 0.006503954800882317, 0.009500628850221677),
)
# fmt: on
