"""An audit as text and as a page: what is confirmed, what is possible, then notes."""

import html
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def as_text(audit: Any) -> str:
    """A table of what is confirmed, then what is possible, then notes."""
    parts = []
    for title, faults in groups(audit):
        if not faults:
            continue
        rows = [row(f) for f in faults]
        sizes = [max(map(len, column)) for column in zip(HEAD, *rows)]
        lines = [
            "  ".join(cell.ljust(n) for cell, n in zip(line, sizes)).rstrip()
            for line in (HEAD, *rows)
        ]
        lines.insert(1, "  ".join("─" * n for n in sizes))
        for i, fault in reversed(list(enumerate(faults))):
            more = [f"    {line}" for line in details(fault)]
            lines[i + 3 : i + 3] = more
        parts.append("\n".join([f"{title} ({len(faults)})", *lines]))
    return "\n\n".join([*parts, closing(audit)])


HEAD = ("operation", "place", "kind", "in", "run", "verdict", "digits")


def row(fault: Any) -> tuple[str, ...]:
    digits = "" if fault.digits_lost is None else f"{fault.digits_lost:.1f}"
    times = f" ×{fault.count}" if fault.count > 1 else ""
    mode = "eager, jit" if fault.mode == "both" else fault.mode
    place = str(fault.place) if fault.place.file else "?"
    return (
        fault.operation + times,
        place,
        fault.kind,
        "value, gradient" if fault.where == "both" else fault.where,
        mode,
        fault.verdict,
        digits,
    )


def details(fault: Any) -> list[str]:
    out = []
    if fault.operands:
        out.append(f"operands  {spans(fault.operands)}")
    if fault.witness is not None:
        out.append(f"witness   {shown(fault.witness, fault.given)}")
    if fault.computed is not None:
        exact = "" if fault.exact is None else f", exact {number(fault.exact)}"
        out.append(f"output    {number(fault.computed)}{exact}")
    if fault.suggestion:
        out.append(f"instead   {fault.suggestion}")
    return out


def groups(audit: Any) -> list[tuple[str, tuple[Any, ...]]]:
    return [
        ("Confirmed, each by an input that makes it happen", audit.confirmed),
        ("Possible: not excluded by the ranges, and no input found", audit.possible),
        ("Notes", audit.notes),
    ]


def closing(audit: Any) -> str:
    said = []
    if not audit.findings:
        said.append("Nothing found.")
    said.append(
        f"{audit.points} inputs tried; {audit.candidates} operations could not be "
        "acquitted from the ranges alone"
        + (
            f", {audit.unbounded} of them because of what comes before them."
            if audit.unbounded
            else "."
        )
    )
    if any(f.suggestion for f in audit.confirmed):
        said.append(
            "What stands under `instead` is in steepest.numerics.stable; "
            "steepest.stabilize writes it into the function."
        )
    if audit.not_analysed:
        names = sorted({n.primitive for n in audit.not_analysed})
        said.append(f"Without bounds: {', '.join(names)}.")
    if not audit.complete:
        said.append("The budget ended the search; a larger one may find more.")
    if audit.seconds:
        times = ", ".join(f"{k} {v:.1f} s" for k, v in audit.seconds.items())
        said.append(f"Time: {times}.")
    return "\n".join(said)


def as_html(audit: Any) -> str:
    """The same as a page fragment, for notebooks."""
    parts = []
    for title, faults in groups(audit):
        if not faults:
            continue
        head = "".join(f"<th style='text-align:left'>{h}</th>" for h in HEAD)
        rows = ""
        for fault in faults:
            cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row(fault))
            more = "<br>".join(html.escape(line) for line in details(fault))
            rows += f"<tr>{cells}</tr>"
            rows += f"<tr><td></td><td colspan={len(HEAD) - 1}><small>{more}</small></td></tr>"
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        parts.append(f"<p><b>{html.escape(title)} ({len(faults)})</b></p>{table}")
    tail = html.escape(closing(audit)).replace("\n", "<br>")
    return f"<div>{''.join(parts)}<p><small>{tail}</small></p></div>"


# -- Numbers in words -----------------------------------------------------------------


def number(x: float) -> str:
    return f"{x:.6g}"


def spans(operands: Sequence[tuple[float, float]]) -> str:
    return " and ".join(
        number(low) if low == high else f"{number(low)} … {number(high)}"
        for low, high in operands
    )


def shown(args: tuple[Any, ...], given: Sequence[bool] = (), most: int = 8) -> str:
    """Arguments in short: small arrays in full, large ones by their range.

    What was given, and so is the same in every witness, is left out.
    """
    parts = []
    leaves = [leaf for leaf in jax.tree.leaves(args) if hasattr(leaf, "dtype")]
    if len(given) == len(leaves) and not all(given):
        leaves = [x for x, known in zip(leaves, given, strict=True) if not known]
    for leaf in leaves:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
            parts.append("key")
            continue
        x = np.asarray(leaf)
        x = x if x.dtype.kind in "biu" else x.astype(np.float64)
        if x.size == 0:
            parts.append(f"{leaf.dtype}{list(x.shape)}")
        elif x.size <= most:
            parts.append(
                np.array2string(
                    x, separator=", ", formatter={"float_kind": lambda v: f"{v:.9g}"}
                ).replace("\n", "")
            )
        else:
            ends = f"{number(float(x.min()))} … {number(float(x.max()))}"
            parts.append(f"{leaf.dtype}{list(x.shape)} in {ends}")
    return "; ".join(parts)
