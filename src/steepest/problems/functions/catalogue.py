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

from dataclasses import replace

from ._classics import CLASSICS
from ._function import Function, of_vectors, unknown
from ._models import MODELS


FUNCTIONS: tuple[Function, ...] = tuple(
    replace(f, fun=of_vectors(f.fun, f.name, f.n)) for f in (*CLASSICS, *MODELS)
)


def names() -> tuple[str, ...]:
    """The names of all test functions, in the order of the catalogue."""
    return tuple(f.name for f in FUNCTIONS)


def get(name: str) -> Function:
    """The test function of that name.

    Its `fun` takes a vector of shape (n,) of any floating-point dtype and computes in
    it; for other input it raises `InputError`.

    Raises `InputError`, with the nearest names, for one that does not exist.

    >>> [(p.x, p.kind) for p in get("beale").points if p.x[1] > 0]
    [((3.0, 0.5), 'minimum'), ((0.0, 1.0), 'saddle')]
    """
    for function in FUNCTIONS:
        if function.name == name:
            return function
    raise unknown(name, names(), "test function", "steepest.problems.functions.names()")
