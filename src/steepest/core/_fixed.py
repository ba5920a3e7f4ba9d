"""A function as the program that it is now.

Compiled programs are kept for a function, and a function may change: what it closes over
is rebound, mutated in place, or read from the module. So a function is traced once for
each call of a search or a verdict, and that program, with its constants, stands for it:

    two functions are equal  ⟺  their programs and constants are                (1)

Constants of JAX cannot change and are known by identity; NumPy's by their values. Rules
of differentiation written by hand are functions that no program shows; where there are
any, the program of the derivatives up to the second belongs to (1).

References
    Bradbury et al. (2018), JAX: composable transformations of Python+NumPy programs.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import PyTree

from .jaxpr import as_function, trace


@dataclass(frozen=True)
class Fixed:
    """A function of one pytree of arrays, at its shapes, that no longer changes."""

    key: Any  # (1)
    program: Any = field(compare=False, repr=False)
    result: Callable = field(compare=False, repr=False)
    constants: Any = field(compare=False, repr=False)  # kept, as identities must be

    def __call__(self, params: PyTree) -> Any:
        return self.result(as_function(self.program)(*jax.tree.leaves(params)))


def fixed(fun: Callable[[PyTree], Any], params: PyTree) -> Fixed:
    """The function as it is now, at arrays like `params`."""
    if isinstance(fun, Fixed):
        return fun
    program = trace(lambda p: fun(p), params)
    text, constants = written(program.closed)
    if "custom_" in text:
        try:
            second = trace(lambda p: jax.jvp(_derivatives(fun), (p,), (p,)), params)
            more, others = written(second.closed)
            text, constants = text + more, (*constants, *others)
            if "custom_lin" in more:  # a rule that is still to be applied
                constants = (*constants, object())
        except (TypeError, ValueError, NotImplementedError):
            constants = (*constants, object())  # equal to itself alone
    key = (hashlib.sha256(text.encode()).hexdigest(), *map(identity, constants))
    return Fixed(key, program.closed, program.result, constants)


def _derivatives(fun: Callable) -> Callable:
    def both(params: PyTree) -> Any:
        out, pull = jax.vjp(lambda p: fun(p), params)
        return out, pull(jax.tree.map(jax.numpy.ones_like, out))

    return both


def written(closed: Any) -> tuple[str, tuple[Any, ...]]:
    """A program's text, and the constants that it does not show."""
    return str(closed.jaxpr), tuple(_constants(closed))


def _constants(value: Any) -> Iterator[Any]:
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):  # one class in newer JAX
        yield from getattr(value, "consts", ())
        for eqn in getattr(value, "jaxpr", value).eqns:
            for x in eqn.invars:
                if isinstance(x, core.Literal) and np.ndim(x.val):
                    yield x.val
            for name in sorted(eqn.params):
                yield from _constants(eqn.params[name])
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _constants(part)


def identity(x: Any) -> Any:
    """What tells a constant from another one."""
    if isinstance(x, jax.Array) or not hasattr(x, "dtype"):
        return id(x)
    array = np.asarray(x)
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return (array.shape, str(array.dtype), digest)
