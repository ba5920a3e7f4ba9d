"""Where two versions of a program part, and by how much: blame the newest change.

Both are run at the same arguments, one operation at a time. Their operations are
matched (`comparing.alignment`), and the first pair of which the values differ by more
than rounding is where the versions part; what was added or removed before it is the
change to look at. Loops are entered at the turn in which they part.

References
    Goodfellow (2017), Numerical Computation for Deep Learning: suspect what was changed
    last.
"""

import html
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..core import jaxpr
from ..core.errors import InputError, type_name
from .comparing.alignment import align
from .comparing.differences import (
    Difference,
    Parting,
    Side,
    apart,
    difference,
    partings,
)
from .comparing.steps import Numbers, Step, is_key, run


@dataclass(frozen=True)
class Change:
    """An operation that only one of the versions has."""

    version: str  # "old" or "new"
    operation: str
    place: jaxpr.Place
    path: tuple[str, ...]

    def __str__(self) -> str:
        sign = "+" if self.version == "new" else "−"
        return f"{sign} `{self.operation}` {self.place if self.place.file else '?'}"


@dataclass(frozen=True)
class Comparison:
    """Two versions of a program at the same arguments."""

    first: Parting | None  # where they part; None if the outputs agree
    partings: tuple[Parting, ...]  # all matched operations that differ, in order
    outputs: tuple[Difference, ...]
    changes: tuple[Change, ...]  # operations that one version alone has, in order
    cause: tuple[Change, ...]  # those of them that the first parting comes after
    matched: int  # operations that both have
    tolerance: float | None  # in ulps; None if bits were compared

    @property
    def agree(self) -> bool:
        """Whether all outputs are the same up to the tolerance."""
        limit = self.tolerance or 0.0
        return all(d.ulps <= limit for d in self.outputs)

    def as_dict(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "agree": self.agree,
            "tolerance": self.tolerance,
            "matched": self.matched,
            "first": None if self.first is None else _parting(self.first),
            "partings": [_parting(p) for p in self.partings],
            "outputs": [_numbers(d) for d in self.outputs],
            "changes": [_change(c) for c in self.changes],
            "cause": [_change(c) for c in self.cause],
        }

    def as_json(self) -> str:
        """The comparison as a JSON text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _lines(self) -> list[str]:
        beyond = "0 bits" if self.tolerance is None else f"{self.tolerance:g} ulp"
        said = [f"{self.matched} operations matched, {len(self.changes)} not."]
        if self.first is None:
            what = "The outputs differ" if self.agree else "Matched operations differ"
            said.append(f"{what} by no more than {beyond}.")
        else:
            said.append(f"The versions part at {self.first}.")
        if self.cause:
            said.append("Changed before that:")
            said += [f"  {c}" for c in self.cause[:MOST]]
            if len(self.cause) > MOST:
                said.append(f"  and {len(self.cause) - MOST} more")
        if len(self.partings) > 1:
            said.append("From there:")
            said += [f"  {p}" for p in self.partings[1 : MOST + 1]]
            if len(self.partings) > MOST + 1:
                said.append(f"  and {len(self.partings) - MOST - 1} more")
        for i, d in enumerate(self.outputs):
            if d.ulps:
                said.append(
                    f"Output {i}: {d.old:.9g} became {d.new:.9g} ({d.ulps:.3g} ulp)."
                )
        if not any(d.ulps for d in self.outputs):
            said.append("The outputs are the same.")
        return said


MOST = 8  # lines of a kind


def compare_programs(
    old: Callable[..., Any],
    new: Callable[..., Any],
    *args: Any,
    ulps: float = 64.0,
    bitwise: bool = False,
) -> Comparison:
    """Run two versions of a function at `args` and say where their values part.

    Values that differ by less than `ulps` units in the last place are taken for the
    same; with `bitwise` any difference counts. Both versions have to return arrays in
    the same structure.
    """
    for fun in (old, new):
        if not callable(fun):
            raise InputError(f"Two functions are compared; {type_name(fun)} came.")
    if not ulps >= 0:
        raise InputError(f"`ulps` is a tolerance and cannot be {ulps}.")
    programs = [jaxpr.trace(fun, *args) for fun in (old, new)]
    _refuse_other_outputs(*programs)
    numbers = Numbers()
    sides = []
    for program in programs:
        values = [v if is_key(v) else jnp.asarray(v) for v in program.values]
        outs, steps = run(program.closed, numbers.inputs(values), numbers)
        sides.append(Side(steps, outs))
    tolerance = None if bitwise else float(ulps)
    both = list(zip(sides[0].outs, sides[1].outs, strict=True))
    part = any(apart(a.value, b.value, tolerance) for a, b in both)
    found = partings(sides[0], sides[1], numbers, tolerance) if part else []
    pairs = align(sides[0].steps, sides[1].steps)
    changes, cause = _changes(sides[0].steps, sides[1].steps, pairs, found)
    return Comparison(
        first=found[0] if found else None,
        partings=tuple(found),
        outputs=tuple(difference(a.value, b.value) for a, b in both),
        changes=changes,
        cause=cause,
        matched=len(pairs),
        tolerance=tolerance,
    )


def _refuse_other_outputs(old: jaxpr.Program, new: jaxpr.Program) -> None:
    trees = [
        jax.tree.structure(p.result([0] * len(p.closed.jaxpr.outvars)))
        for p in (old, new)
    ]
    if trees[0] != trees[1]:
        raise InputError(
            f"The two versions return different things, {trees[0]} and {trees[1]}. "
            "Compare functions that return the same structure."
        )
    both = zip(old.closed.out_avals, new.closed.out_avals, strict=True)
    for i, (a, b) in enumerate(both):
        if a.shape != b.shape:
            raise InputError(
                f"Output {i} is {a.str_short()} in the old version and "
                f"{b.str_short()} in the new. Compare functions that return arrays of "
                "the same shapes."
            )


def _changes(
    old: list[Step],
    new: list[Step],
    pairs: list[tuple[int, int]],
    found: list[Parting],
) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """What has no partner, as the new version would meet it; and what caused the rest.

    The cause is what changed since the last pair that agreed.
    """
    partner = dict(pairs)
    ends = {(p.new_place, p.operation) for p in found[:2]}
    all_, since, cause = [], [], []
    j = 0
    done = not found
    for i in range(len(old) + 1):
        stop = partner.get(i, len(new)) if i < len(old) else len(new)
        if i < len(old) and i not in partner:
            since.append(_of("old", old[i]))
            all_.append(since[-1])
            continue
        for k in range(j, stop):
            since.append(_of("new", new[k]))
            all_.append(since[-1])
        j = stop + 1
        if not done and i < len(old):
            e = new[stop].equation
            if (e.place, e.primitive) in ends:
                cause, done = list(since), True
    return tuple(all_), tuple(cause)


def _of(version: str, step: Step) -> Change:
    e = step.equation
    return Change(version, e.primitive, e.place, e.path)


def _change(c: Change) -> dict[str, Any]:
    return {
        "version": c.version,
        "operation": c.operation,
        "file": c.place.file,
        "line": c.place.line,
    }


def _parting(p: Parting) -> dict[str, Any]:
    return {
        "operation": p.operation,
        "old": {"file": p.old_place.file, "line": p.old_place.line},
        "new": {"file": p.new_place.file, "line": p.new_place.line},
        "path": list(p.path),
        **_numbers(p.difference),
    }


def _numbers(d: Difference) -> dict[str, Any]:
    return {
        name: value if math.isfinite(value) else str(value)
        for name, value in d._asdict().items()
    }
