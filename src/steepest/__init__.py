"""The theory of deep learning as working software: a toolbox and a check-up for JAX.

    report = steepest.check(problem, recipe)        # what is wrong, proved and treated
    fitted, record = steepest.fit(problem, recipe)  # train, and note what happened
    y, values = steepest.capture(forward)(model, x) # look inside any program
    steepest.audit(loss, *ranges)                   # what will overflow or lose digits
    loss = steepest.stabilize(loss)                 # the same function, in stable form

The rooms follow the theory: `core`, `numerics`, `data`, `curvature`, `nn`, `optimize`,
`training`, `learning`, `problems`, `checkup`. Names are imported when they are first used, so that
`import steepest` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .checkup import Report, check, review
    from .core import capture
    from .core.errors import InputError
    from .numerics import (
        Audit,
        Interval,
        audit,
        locate_nonfinite,
        shadow,
        stabilize,
    )
    from .training import Aux, Fitted, Problem, Recipe, Record, fit

__version__ = "0.1.0"

_HOME = {
    "Report": ".checkup",
    "check": ".checkup",
    "review": ".checkup",
    "capture": ".core",
    "InputError": ".core.errors",
    "Audit": ".numerics",
    "Interval": ".numerics",
    "audit": ".numerics",
    "locate_nonfinite": ".numerics",
    "shadow": ".numerics",
    "stabilize": ".numerics",
    "Aux": ".training",
    "Fitted": ".training",
    "Problem": ".training",
    "Recipe": ".training",
    "Record": ".training",
    "fit": ".training",
}

_ROOMS = (
    *("core", "numerics", "data", "curvature", "nn", "optimize", "training"),
    *("learning", "problems", "checkup"),
)

__all__ = [  # noqa: RUF022 (in the order in which a user meets them)
    "Problem",
    "Recipe",
    "check",
    "review",
    "Report",
    "fit",
    "Fitted",
    "Record",
    "Aux",
    "capture",
    "audit",
    "Interval",
    "Audit",
    "shadow",
    "stabilize",
    "locate_nonfinite",
    "InputError",
]


def __getattr__(name: str) -> Any:  # any public object
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
