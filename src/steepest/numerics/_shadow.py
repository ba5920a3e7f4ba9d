"""A program run once more in wider precision, and where its digits were lost.

`shadow(fn)` runs `fn` as it is and, beside it, every operation in float64. The two
differ by the rounding errors of `fn`, so that for each operation one can tell the error
that it introduced from the one that it inherited, and by how much it made that greater;
`shadowing.reading` has the formulas. Decisions (comparisons, indices, branches) are
taken as the program takes them.

Float64 is not the truth. It makes some mistakes together with float32 (log(1 + eˣ) − x
at 50 is 0 in both), and it shows nothing of a program that is in float64 itself.
`second_opinion` asks exact arithmetic about the outputs; `wide="exact"` asks it about
every operation of a small program.
"""

import html
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..core import jaxpr
from ..core.compiled import op_by_op
from ..core.errors import InputError, type_name
from . import exact
from .intervals import Interval
from .shadowing.blame import blame as blame, worst
from .shadowing.exactly import as_float, shadow_exactly
from .shadowing.operations import (
    Operation as Operation,
    is_float,
    operations as operations,
)
from .shadowing.program import in_float64, shadow_program as shadow_program, tracing
from .shadowing.reading import Loss, read


class Opinion(NamedTuple):
    """An output of which float64 and exact arithmetic say different things."""

    output: int
    wide: float  # the element that differs most, in float64
    exact: float
    error: float  # of float64, relative

    def __str__(self) -> str:
        return (
            f"Output {self.output} is {self.wide:.6g} in float64 but {self.exact:.6g} in "
            "exact arithmetic: float64 makes the same mistake as the program."
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shadow:
    """A result, its shadow, and the error at each operation. A pytree."""

    value: Any  # what the function returns
    wide: Any  # the same in wider precision
    error: Any  # for each array of `value` the greatest relative error of an element
    rows: Any  # for each operation, see `shadowing.errors`
    inputs: list[Any]  # the arrays in the arguments
    table: tuple[Operation, ...] = field(metadata={"static": True})
    closed: Any = field(metadata={"static": True})  # the program
    not_shadowed: tuple[jaxpr.NotAnalysed, ...] = field(metadata={"static": True})

    @property
    def operations(self) -> tuple[Loss, ...]:
        """Each operation that was run, in the order of the program."""
        rows = self._numbers()
        return tuple(
            read(o, row) for o, row in zip(self.table, rows, strict=True) if row[-1]
        )

    def _errors(self) -> list[float]:
        """The error of each output; a name or a flag in the result has none."""
        leaves = jax.tree.leaves(self.error)
        return [float(e) for e in leaves if hasattr(e, "dtype")]

    def _numbers(self) -> np.ndarray:
        """The rows, of one run that is over."""
        if isinstance(self.rows, Tracer):
            raise InputError(
                "Operations have errors once they were run: return the shadow from the "
                "function that is compiled or differentiated, and read it there."
            )
        rows = np.asarray(self.rows, np.float64)
        if rows.ndim > 2:
            raise InputError(
                f"This shadow holds {rows.shape[0]} runs: take one of them by "
                "`jax.tree.map(lambda x: x[0], shadow)`."
            )
        return rows

    def worst(self, n: int = 10) -> tuple[Loss, ...]:
        """The n operations at which the relative error grew most."""
        real = [loss for loss in self.operations if not loss.operation.decides]
        return tuple(sorted(real, key=lambda loss: -loss.growth)[:n])

    def blame(self, output: int = 0) -> Loss:
        """The operation that an output's error is to blame on.

        Outputs are counted as `jax.tree.leaves(shadow.value)` counts them.
        """
        count = len(self.closed.jaxpr.outvars)
        if not hasattr(output, "__index__") or not 0 <= output < count:
            raise InputError(
                f"There is no output {output!r}; the function has {count}, counted from 0."
            )
        try:
            return worst(self.table, self._numbers(), output)
        except LookupError:
            raise InputError(
                f"Output {output} is reached by no operation that rounds, so that there "
                "is none to blame."
            ) from None

    def second_opinion(self, size: int = exact.SIZE) -> tuple[Opinion, ...]:
        """Outputs of which exact arithmetic says something else than float64.

        Raises `InputError` if the program has more than `size` scalar operations.
        """
        truth = exact.evaluate(self.closed, *self.inputs, size=size)
        natives = [x for x in jax.tree.leaves(self.value) if hasattr(x, "dtype")]
        wides = [x for x in jax.tree.leaves(self.wide) if hasattr(x, "dtype")]
        found = []
        for i, (y, w, z) in enumerate(zip(natives, wides, truth, strict=True)):
            if not is_float(y) or not y.size:
                continue
            z = np.asarray([as_float(v) for v in np.ravel(z)])
            w = np.asarray([as_float(v) for v in np.ravel(w)])
            errors = relative(w, z, float(jnp.finfo(y.dtype).tiny))
            k = int(np.argmax(errors))
            if errors[k] > float(jnp.finfo(y.dtype).eps) / 4:
                found.append(Opinion(i, float(w[k]), float(z[k]), float(errors[k])))
        return tuple(found)

    def as_dict(self, n: int = 10) -> dict[str, Any]:
        """The errors of the outputs and the worst operations, for JSON."""
        return {
            "schema": 1,
            "outputs": [plain(e) for e in self._errors()],
            "operations": [as_record(loss) for loss in self.worst(n)],
            "not_shadowed": [
                {"primitive": p.primitive, "place": str(p.place), "count": p.count}
                for p in self.not_shadowed
            ],
        }

    def as_json(self, n: int = 10) -> str:
        """The same as a JSON text."""
        return json.dumps(self.as_dict(n), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        if isinstance(self.rows, Tracer):
            return repr(self)
        rows = [cells(loss) for loss in self.worst()]
        widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
        lines = [
            "  ".join(c.ljust(n) for c, n in zip(line, widths, strict=True)).rstrip()
            for line in (HEAD, *rows)
        ]
        lines.insert(1, "  ".join("─" * n for n in widths))
        return "\n".join([*self.summary(), "", *lines])

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{h}</th>" for h in HEAD)
        rows = ""
        for loss in self.worst():
            line = "".join(f"<td>{html.escape(c)}</td>" for c in cells(loss))
            rows += f"<tr>{line}</tr>"
        said = "<br>".join(html.escape(line) for line in self.summary())
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return f"<div><p>{said}</p>{table}</div>"

    def summary(self) -> list[str]:
        """A sentence for each of the first outputs, and what was left out."""
        errors = self._errors()
        said = [f"Output {i}: {in_digits(e)}." for i, e in enumerate(errors[:8])]
        if len(errors) > 8:
            said.append(
                f"{len(errors) - 8} more outputs, {in_digits(max(errors[8:]))}."
            )
        if self.not_shadowed:
            names = ", ".join(sorted({p.primitive for p in self.not_shadowed}))
            said.append(f"Not run in wider precision: {names}.")
        return said


def shadow(
    fn: Callable[..., Any], wide: Literal["float64", "exact"] = "float64"
) -> Callable[..., Shadow]:
    """`fn` with a shadow: a function of the same arguments that returns a `Shadow`.

    Called as it is, it computes operation by operation and so has the rounding errors
    of an eager run. Under `jit` it is compiled with what is around it, and has those of
    a compiled run, up to what XLA does otherwise because intermediate results are asked
    for. Gradients are functions like any other: `shadow(jax.grad(loss))`.
    """
    if not callable(fn):
        raise InputError(f"A shadow is of a function; {type_name(fn)} came.")
    if wide not in ("float64", "exact"):
        raise InputError(f'`wide` is "float64" or "exact", not {wide!r}.')
    compiled: dict[Any, Any] = {}

    def shadowed(*args: Any, **kwargs: Any) -> Shadow:
        refuse_ranges((args, kwargs))
        program = jaxpr.trace(fn, *args, **kwargs)
        values = [jnp.asarray(v) if not _is_key(v) else v for v in program.values]
        unseen: Counter = Counter()
        if tracing() or any(isinstance(v, Tracer) for v in values):
            if wide == "exact":
                raise InputError(
                    "Exact arithmetic needs numbers: call the shadow outside of `jit` "
                    'and the like, or with `wide="float64"`.'
                )
            parts = shadow_program(program.closed, values, unseen)
            return _shadow(program, program.closed, values, parts, unseen)
        if wide == "exact":
            parts = shadow_exactly(program.closed, values)
            return _shadow(program, program.closed, values, parts, unseen)
        key = str(program.closed.jaxpr), tuple(map(str, map(jax.typeof, values)))
        if program.closed.consts or key not in compiled:
            closed = program.closed
            run = op_by_op(lambda *v: shadow_program(closed, v, unseen))
            compiled.clear()
            compiled[key] = (run, closed, unseen)
        run, closed, unseen = compiled[key]
        with in_float64():  # some primitives are traced when they are compiled
            parts = run(*values)
        return _shadow(program, closed, values, parts, unseen)

    return shadowed


def refuse_ranges(args: Any) -> None:
    """A shadow is of a run, and a run is of numbers."""
    for leaf in jax.tree.leaves(args):
        if isinstance(leaf, jax.ShapeDtypeStruct | Interval):
            raise InputError(
                f"A shadow is of one run and needs numbers; {type_name(leaf)} came. Give "
                "arrays, or ask `audit` about ranges."
            )


def _shadow(
    program: jaxpr.Program,
    closed: jaxpr.Closed,
    values: list[Any],
    parts: tuple[list[Any], list[Any], Any],
    unseen: Counter,
) -> Shadow:
    outs, wides, rows = parts
    errors = [error_of(y, w) for y, w in zip(outs, wides, strict=True)]
    left = jaxpr.not_analysed(unseen)
    found = (program.result(outs), program.result(wides), program.result(errors))
    return Shadow(*found, rows, values, operations(closed), closed, left)


def error_of(y: Any, w: Any) -> Any:
    """The greatest relative error of an output; 0 for one that holds no floats."""
    if not is_float(y) or not y.size:
        return np.float64(0)
    tiny = float(jnp.finfo(y.dtype).tiny)
    if isinstance(y, Tracer):
        with in_float64():
            error = relative(y.astype(w.dtype), w, tiny, jnp).max()
            return error.astype(jnp.float32)
    wide = np.asarray(w)
    if wide.dtype == object:
        y, wide = np.ravel(y).astype(float), np.ravel(wide)
        errors = [
            as_float(abs(a - b) / max(abs(b), tiny))
            for a, b in zip(y, wide, strict=True)
        ]
        return np.float64(max(0.0 if math.isnan(e) else e for e in errors))
    return np.float64(relative(np.asarray(y).astype(wide.dtype), wide, tiny).max())


def relative(a: Any, b: Any, tiny: float, numpy: Any = np) -> Any:
    """|a − b| / |b|; 0 where b says nothing, ∞ where a is not finite and b is."""
    with np.errstate(all="ignore"):
        error = abs(a - b) / numpy.maximum(abs(b), tiny)
    nothing = numpy.where(numpy.isfinite(b), np.inf, 0.0)
    return numpy.where(error == error, error, nothing)


def _is_key(x: Any) -> bool:
    return jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.extended)


# -- As a table ------------------------------------------------------------------------


HEAD = (
    "operation",
    "place",
    "loss",
    "error before",
    "after",
    "introduced",
    "condition",
    "value",
    "exact",
    "outputs",
)


def cells(loss: Loss) -> tuple[str, ...]:
    o = loss.operation
    turn = "" if loss.turn is None else f" [turn {loss.turn}]"
    reached = sorted(o.reaches)
    outputs = ", ".join(map(str, reached[:4])) + (" …" if len(reached) > 4 else "")
    return (
        o.primitive + turn,
        str(o.place) if o.place.file else "?",
        loss.kind,
        *(short(v) for v in (loss.before, loss.total, loss.introduced, loss.condition)),
        f"{loss.native:.6g}",
        f"{loss.wide:.6g}",
        outputs or "none",
    )


def short(x: float) -> str:
    return "" if math.isnan(x) else "0" if x == 0 else f"{x:.1e}"


def in_digits(error: float) -> str:
    if error == 0:
        return "no error"
    if not math.isfinite(error):
        return "not finite, though it is in wider precision"
    digits = max(0.0, -math.log10(error))
    return f"relative error {error:.1e}, {digits:.1f} correct digits"


def as_record(loss: Loss) -> dict[str, Any]:
    o = loss.operation
    numbers = ("total", "introduced", "inherited", "before", "condition", "growth")
    return {
        "operation": o.primitive,
        "file": o.place.file,
        "line": o.place.line,
        "path": list(o.path),
        "format": o.format,
        "kind": loss.kind,
        **{name: plain(getattr(loss, name)) for name in numbers},
        "value": plain(loss.native),
        "exact": plain(loss.wide),
        "element": loss.element,
        "turn": loss.turn,
        "outputs": sorted(o.reaches),
    }


def plain(x: float) -> float | str:
    """A number that JSON can hold."""
    return x if math.isfinite(x) else str(x)
