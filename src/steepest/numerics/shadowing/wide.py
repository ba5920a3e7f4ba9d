"""One equation in float64, whatever its own format.

Most primitives run on wider operands as they are. The others name a format in their
parameters, hold a program of their own format, or decide: a `sort` permutes the wide
values as it did the program's, the maximum of a pooling window stays where it was.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from ...core import jaxpr
from .convolution import convolution
from .operations import STEPS, is_float
from .pooling import gathered, scattered


def widened(x: Any) -> Any:
    """Floats as float64, complex numbers as complex128, anything else as it is."""
    if not is_float(x):
        return x
    complex_ = jnp.issubdtype(x.dtype, jnp.complexfloating)
    return lax.convert_element_type(x, jnp.complex128 if complex_ else jnp.float64)


def run_wide(
    equation: jaxpr.Equation,
    wide: Sequence[Any],
    native: Sequence[Any],
    outs: Sequence[Any],
    late: bool = False,
) -> list[Any] | None:
    """Results in float64, of wide operands; None where it has to be the program's own.

    `native` and `outs` are the operands and results of the program, which decisions are
    taken from. `late`: float64 is there as well when this is compiled.
    """
    name = equation.primitive
    if name in OPAQUE or name in STEPS or (name in LATE and not late):
        return None
    if name in RULES:
        return RULES[name](equation, wide, native, outs)
    try:
        return bind(equation, wide)
    except (TypeError, ValueError, NotImplementedError):
        return None  # it takes its own format alone


def bind(equation: jaxpr.Equation, values: Sequence[Any]) -> list[Any]:
    """The equation at operands of another format."""
    primitive = equation.eqn.primitive
    params = dict(primitive.get_bind_params(equation.eqn.params))
    if params.get("preferred_element_type") is not None:
        complex_ = jnp.issubdtype(params["preferred_element_type"], jnp.complexfloating)
        params["preferred_element_type"] = jnp.complex128 if complex_ else jnp.float64
    with equation.eqn.ctx.manager:
        out = primitive.bind(*values, **params)
    return list(out) if primitive.multiple_results else [out]


def convert(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any]:
    """Between formats of floats nothing changes."""
    out = equation.outputs[0]
    real = is_float(equation.inputs[0]) and is_float(out)
    was, becomes = (
        jnp.issubdtype(v.dtype, jnp.complexfloating) for v in (wide[0], out)
    )
    return [wide[0]] if real and was == becomes else [widened(outs[0])]


def same(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any]:
    return list(wide)


def scatter(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any]:
    """By the library's function, whose program for one element fits the format."""
    functions = {
        "scatter": lax.scatter,
        "scatter-add": lax.scatter_add,
        "scatter_add": lax.scatter_add,
        "scatter_sub": lax.scatter_sub,
        "scatter-sub": lax.scatter_sub,
        "scatter_mul": lax.scatter_mul,
        "scatter-mul": lax.scatter_mul,
        "scatter_min": lax.scatter_min,
        "scatter-min": lax.scatter_min,
        "scatter_max": lax.scatter_max,
        "scatter-max": lax.scatter_max,
    }
    p = equation.params
    operand, indices, updates = wide
    out = functions[equation.primitive](
        operand,
        indices,
        updates,
        p["dimension_numbers"],
        indices_are_sorted=p["indices_are_sorted"],
        unique_indices=p["unique_indices"],
        mode=p["mode"],
    )
    return [out]


def sort(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any]:
    """The permutation that the program's own keys have."""
    axis, keys = equation.params["dimension"], equation.params["num_keys"]
    stable = equation.params["is_stable"]
    index = lax.broadcasted_iota(jnp.int32, native[0].shape, axis)
    *_, order = lax.sort(
        (*native, index), dimension=axis, num_keys=keys, is_stable=stable
    )
    return [
        jnp.take_along_axis(w, order, axis) if is_float(w) else out
        for w, out in zip(wide, outs, strict=True)
    ]


def top_k(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any]:
    axis = equation.params.get("axis", wide[0].ndim - 1)
    return [jnp.take_along_axis(wide[0], outs[1], axis), outs[1]]


def conv(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any]:
    found = convolution(wide[0], wide[1], equation.params)
    return bind(equation, wide) if found is None else [found]


#: Programs inside of them have a format; or they draw.
CALLBACKS = frozenset(("pure_callback", "io_callback", "debug_callback", "debug_print"))
OPAQUE = CALLBACKS | frozenset(
    [
        "reduce",
        "reduce_window",
        "select_and_scatter",
        "nextafter",
        "bitcast_convert_type",
        "rng_uniform",
        "random_gamma",
        "random_bits",
        "iota",
        "empty",
        "empty2",
    ]
)
#: Functions that are traced once more when they are compiled, and then need float64.
LATE = frozenset(
    [
        "bessel_i0e",
        "bessel_i1e",
        "igamma",
        "igamma_grad_a",
        "igammac",
        "random_gamma_grad",
        "regularized_incomplete_beta",
    ]
)
RULES: dict[str, Callable[..., Any]] = {
    "conv_general_dilated": conv,
    "convert_element_type": convert,
    "reduce_precision": same,
    **dict.fromkeys(
        [
            "scatter",
            "scatter-add",
            "scatter_add",
            "scatter_sub",
            "scatter-sub",
            "scatter_mul",
            "scatter-mul",
            "scatter_min",
            "scatter-min",
            "scatter_max",
            "scatter-max",
        ],
        scatter,
    ),
    "sort": sort,
    "top_k": top_k,
    "select_and_gather_add": gathered,
    "select_and_scatter_add": scattered,
}
