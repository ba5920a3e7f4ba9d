"""What an audit says: findings, each with its evidence, as text, a page or JSON.

A finding is *confirmed* by an input that makes the fault happen, or it is *possible*:
the ranges do not exclude it and no input was found. The two are never mixed.

What a confirmed fault means depends on what the exact result would be, computed in
extended precision from the same input:

    defect      the result exists and fits the format; the program does not give it
    domain      the function itself has no finite value there: log 0, 0/0
    range       the value exists but is too large for the format
    imprecise   a value near zero has lost its digits, by no more than the rounding of
                what it is like elsewhere, and no better formula is known
    masked      it happens, but reaches no output
    latent      nothing fails yet, but less than `HEADROOM` bits are left
"""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ...core.jaxpr import NotAnalysed, Place
from .report import as_html, as_text, number, spans


NOTES = ("imprecise", "masked", "latent")
ORDER = ("defect", "domain", "range", "imprecise", "masked", "latent", "possible")


@dataclass(frozen=True)
class Fault:
    """One operation that fails, or may fail."""

    operation: str  # the primitive: "log"
    place: Place  # of the user's source
    kind: str  # "overflow", "pole", "domain", "0/0", "cancellation", ...
    where: str  # "value", "gradient" or "both": what it spoils
    mode: str  # "eager", "jit" or "both": how the program has to be run
    verdict: str  # "defect", "domain", "range", "imprecise", ...
    reaches_output: bool
    operands: tuple[
        tuple[float, float], ...
    ]  # least and greatest of each, when it fails
    witness: tuple[Any, ...] | None = None  # arguments that make it happen
    given: tuple[bool, ...] = ()  # which arrays of the witness came with the question
    cotangent: Any = None  # of the outputs, where the gradient was taken of several
    element: tuple[int, int] | None = None  # number of the worst output, and in it
    computed: float | None = None  # that element at the witness
    exact: float | None = None  # what it should be
    digits_lost: float | None = None  # decimal digits of the worst output
    suggestion: str = ""
    count: int = 1  # equations that fail in the same way on the same line
    address: tuple[int, ...] = ()
    path: tuple[str, ...] = ()  # the calls and loops around it

    @property
    def confirmed(self) -> bool:
        """Whether there is an input that makes it happen and matter."""
        return self.verdict in ("defect", "domain", "range")

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        at = f" at {self.place}" if self.place.file else ""
        inside = f" in the {self.path[-1]}" if self.path[-1:] in LOOPS else ""
        of = f" of {spans(self.operands)}" if self.operands else ""
        grads = {"gradient": ", in the gradient", "both": ", and in the gradient"}
        grad = grads.get(self.where, "")
        only = {"jit": ", under jit only", "eager": ", not under jit", "both": ""}
        said = f"`{self.operation}`{of}{at}{inside}{grad}{only[self.mode]}: {self.kind}"
        if self.digits_lost is not None:
            said += f", {self.digits_lost:.1f} digits lost"
        if self.computed is not None and self.exact is not None:
            said += f" (gives {number(self.computed)}, exact {number(self.exact)})"
        return said

    def as_dict(self) -> dict[str, Any]:
        """For JSON: arrays as lists, numbers that are none as text."""
        return {
            "operation": self.operation,
            "file": self.place.file,
            "line": self.place.line,
            "function": self.place.function,
            "kind": self.kind,
            "where": self.where,
            "mode": self.mode,
            "verdict": self.verdict,
            "confirmed": self.confirmed,
            "reaches_output": self.reaches_output,
            "operands": [[plain(a), plain(b)] for a, b in self.operands],
            "witness": None if self.witness is None else listed(self.witness),
            "cotangent": None if self.cotangent is None else listed(self.cotangent),
            "computed": plain(self.computed),
            "exact": plain(self.exact),
            "digits_lost": plain(self.digits_lost),
            "suggestion": self.suggestion,
            "count": self.count,
            "sentence": self.sentence,
        }


LOOPS = (("scan",), ("while",), ("cond",))


@dataclass(frozen=True)
class Audit:
    """The findings of an audit, the gravest first, and what it could not see."""

    findings: tuple[Fault, ...]
    not_analysed: tuple[NotAnalysed, ...] = ()  # primitives without bounds
    candidates: int = 0  # operations that the ranges alone do not acquit
    unbounded: int = 0  # of these, those that lie behind another one
    points: int = 0  # inputs that were tried
    complete: bool = True  # False when the budget ended the search
    seconds: dict[str, float] = field(default_factory=dict)  # by stage

    @property
    def confirmed(self) -> tuple[Fault, ...]:
        """Those with a witness that reaches an output."""
        return tuple(f for f in self.findings if f.confirmed)

    @property
    def defects(self) -> tuple[Fault, ...]:
        """Those of which the exact result exists and fits the format."""
        return tuple(f for f in self.findings if f.verdict == "defect")

    @property
    def possible(self) -> tuple[Fault, ...]:
        """Those that the ranges do not exclude and no input was found for."""
        return tuple(f for f in self.findings if f.verdict == "possible")

    @property
    def notes(self) -> tuple[Fault, ...]:
        """What happens without reaching an output, and what is near its limit."""
        return tuple(f for f in self.findings if f.verdict in NOTES)

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "findings": [f.as_dict() for f in self.findings],
            "not_analysed": [
                {"primitive": n.primitive, "place": str(n.place), "count": n.count}
                for n in self.not_analysed
            ],
            "candidates": self.candidates,
            "unbounded": self.unbounded,
            "points": self.points,
            "complete": self.complete,
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
        }

    def as_json(self) -> str:
        """The audit as a JSON text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def plain(x: float | None) -> float | str | None:
    """A number that JSON can hold."""
    return x if x is None or math.isfinite(x) else str(x)


def listed(tree: Any) -> list[Any]:
    out = []
    for leaf in jax.tree.leaves(tree):
        if not hasattr(leaf, "dtype"):
            continue
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
            out.append({"dtype": str(leaf.dtype), "shape": list(leaf.shape)})
            continue
        x = np.asarray(leaf)
        data = x.astype(np.float64) if x.dtype.kind not in "biu" else x
        values = [
            v if not isinstance(v, float) else plain(v) for v in data.ravel().tolist()
        ]
        out.append({"dtype": str(leaf.dtype), "shape": list(x.shape), "data": values})
    return out
