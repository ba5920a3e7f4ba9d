"""Any program, rewritten so that its value, gradient and Hessian keep their digits.

    loss = steepest.stabilize(loss)          # like jax.jit: same arguments, same result
    jax.grad(loss)(params, batch)            # the stable form is what is differentiated
    print(loss.rewrites(params, batch))      # what was changed, where and why

The program is rewritten before it is differentiated: in the gradient of log(softmax x)
no softmax can be recognised. Each rewrite is an identity of real functions; none clips,
and what cannot be shown to be the same function is left as it is, with the reason in
the list. A program in which nothing is at risk runs as it was.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import core

from ..core import jaxpr
from .rewriting.engine import Rewriting, rewrite
from .rewriting.exact import exact_constants
from .rewriting.report import Rewrite as Rewrite, Rewrites as Rewrites, report


KEPT = 64  # programs that a function is remembered for, the latest used


class _Entry(NamedTuple):
    run: Callable[..., Any] | None  # None where the function stays as it is
    result: Callable[..., Any]


def stabilize(fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun` with its risky operations in stable forms; see the module docstring.

    Arrays and floats in the arguments, any pytrees, are traced; everything else (flags,
    whole numbers, functions) belongs to the program, which is rewritten once for each
    of them and for each shape. `stabilize(fun).rewrites(*args)` lists the rewrites.
    """
    if not callable(fun):
        from ..core.errors import InputError, type_name

        raise InputError(f"`stabilize` takes a function, not {type_name(fun)}.")
    kept: OrderedDict[Any, _Entry] = OrderedDict()

    @functools.wraps(fun)
    def stable(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten((args, kwargs))
        key = _key(leaves, tree)
        entry = kept.get(key) if key is not None else None
        if entry is None:
            program, rewriting = _rewritten(fun, args, kwargs)
            run = rewriting.closed and jaxpr.as_function(rewriting.closed)
            entry = _Entry(run, program.result)
            if key is not None and not _captures(program):
                kept[key] = entry
                if len(kept) > KEPT:
                    kept.popitem(last=False)
        else:
            kept.move_to_end(key)
        if entry.run is None:
            return fun(*args, **kwargs)
        values = [_traced(x) for x in leaves if _is_traced(x)]
        return entry.result(entry.run(*values))

    def rewrites(*args: Any, **kwargs: Any) -> Rewrites:
        return report(_rewritten(fun, args, kwargs)[1].changes)

    stable.rewrites = rewrites  # type: ignore[attr-defined]
    return stable


def _rewritten(
    fun: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[jaxpr.Program, Rewriting]:
    args, kwargs = jax.tree.map(_traced, (args, kwargs))
    program = jaxpr.trace(fun, *args, **kwargs)
    exact = exact_constants(fun, args, kwargs, program.closed)
    return program, rewrite(program.closed, exact=exact)


def _is_traced(leaf: Any) -> bool:
    return isinstance(leaf, (*jaxpr.ARRAYS, float, complex, jax.ShapeDtypeStruct))


def _traced(leaf: Any) -> Any:
    """A float as the weakly typed array that JAX makes of it."""
    plain = isinstance(leaf, (float, complex)) and not isinstance(leaf, np.generic)
    return jax.numpy.asarray(leaf) if plain else leaf


def _key(leaves: list[Any], tree: Any) -> Any:
    """What a program depends on: shapes, dtypes and all that is not an array."""
    parts = []
    for leaf in leaves:
        if _is_traced(leaf):
            aval = jax.typeof(_traced(leaf)) if not _is_struct(leaf) else leaf
            parts.append(aval)
        else:
            parts.append((type(leaf), leaf))
    options = ("jax_enable_x64", "jax_numpy_dtype_promotion")
    settings = tuple(getattr(jax.config, option) for option in options)
    key = (tree, tuple(parts), settings)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _is_struct(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _captures(program: jaxpr.Program) -> bool:
    """Whether the program holds a value of an outer transformation."""
    return any(isinstance(c, core.Tracer) for c in program.closed.consts)
