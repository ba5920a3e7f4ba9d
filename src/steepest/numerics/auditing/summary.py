"""One finding for each fault: echoes merged, the stable form named, the gravest first."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from .._stabilize import stabilize
from .finding import ORDER, Fault
from .search import floats
from .specs import Question, shape_of


def with_gradients(faults: Sequence[Fault]) -> list[Fault]:
    """A fault of the value that the gradient inherits is one finding, "both"."""
    values = {(f.operation, f.place): f for f in faults if in_value(f)}
    gradients = {
        (f.operation, f.place) for f in faults if f.where == "gradient" and f.confirmed
    }
    out = []
    for fault in faults:
        key = fault.operation, fault.place
        if fault.where == "gradient" and key in values:
            continue
        if in_value(fault) and key in gradients:
            fault = replace(fault, where="both")
        masked = fault.verdict == "masked" and fault.where == "value"
        if not (masked and key in gradients):
            out.append(fault)
    return out


def in_value(fault: Fault) -> bool:
    return fault.where == "value" and fault.confirmed


def without_echoes(faults: Sequence[Fault]) -> list[Fault]:
    """One finding for the equations that fail in the same way on the same line."""
    kept: dict[tuple[Any, ...], Fault] = {}
    eager = {(f.operation, f.place) for f in faults if f.confirmed and f.mode != "jit"}
    for fault in faults:
        if fault.mode == "jit" and (fault.operation, fault.place) in eager:
            continue
        key = (fault.operation, fault.place, fault.kind, fault.where, fault.verdict)
        if key in kept:
            kept[key] = replace(kept[key], count=kept[key].count + 1)
        else:
            kept[key] = fault
    return list(kept.values())


def with_suggestions(faults: Sequence[Fault], question: Question) -> list[Fault]:
    """What `stabilize` would write on the line of a finding."""
    if all(f.witness is None for f in faults):
        return list(faults)
    specs = [
        shape_of(leaf) if hasattr(leaf, "shape") else leaf for leaf in question.leaves
    ]
    args = jax.tree.unflatten(question.tree, specs)
    stable = stabilize(question.fun)
    said: dict[Any, str] = {}
    known = set()  # lines of which a stable form is known
    for rewrite in stable.rewrites(*args):
        line = rewrite.place.file, rewrite.place.line
        said.setdefault(line, rewrite.after if rewrite.applied else rewrite.reason)
        if rewrite.applied:
            known.add(line)
    out = []
    lines = [(f.place.file, f.place.line) for f in faults]
    for fault, line in zip(faults, lines, strict=True):
        others = known.intersection(lines) - {line}
        if others and line not in known and mends(stable, fault):
            continue  # what mends it is the stable form of another finding
        if fault.witness is not None:
            cured = line not in known or finite_again(stable, fault)
            fault = replace(fault, suggestion=said.get(line, "") if cured else "")
        if fault.verdict == "imprecise":
            mended = line in known and mends(stable, fault)
            fault = (
                replace(fault, verdict="defect")
                if mended
                else replace(fault, suggestion="")
            )
        out.append(fault)
    return out


def finite_again(stable: Callable[..., Any], fault: Fault) -> bool:
    """Whether the rewritten function is finite where the written one was not."""
    if fault.where != "value" or fault.witness is None:
        return True
    if fault.computed is None or np.isfinite(fault.computed):
        return True
    values = jax.tree.leaves(stable(*fault.witness))
    return all(np.isfinite(floats(v)).all() for v in values)


def mends(stable: Callable[..., Any], fault: Fault) -> bool:
    """Whether the rewritten function has digits that were lost at the witness."""
    computed, exact = fault.computed, fault.exact
    if fault.witness is None or fault.element is None:
        return False
    if computed is None or exact is None:
        return False
    output, element = fault.element
    values = jax.tree.leaves(stable(*fault.witness))
    mended = floats(values[output]).ravel()[element]
    return bool(abs(mended - exact) < 0.01 * abs(computed - exact))


def gravity(fault: Fault) -> tuple[Any, ...]:
    return (
        ORDER.index(fault.verdict),
        fault.where == "gradient",
        -(fault.digits_lost or 0),
    )
