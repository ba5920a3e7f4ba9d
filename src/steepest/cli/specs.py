"""What an argument may hold, as it is written in a shell.

    float32[32,10] in [-30, 30]     all arrays of this shape between these ends
    float32[32,10]                  any finite numbers
    float16 in [0, 1]               a scalar
    weights.npy                     these very numbers
    key(0)                          a random key

Any of them may have a name before it: `x=float32[3] in [0, 1]` for the parameter x of
the function, `params.w=...` for the entry "w" of a dict.
"""

import re
from pathlib import Path
from typing import Any

from ..core.errors import InputError


FORMAT = re.compile(r"(?P<dtype>[a-z]+\d*\w*)\s*(?:\[(?P<shape>[^\]]*)\])?\s*$")
RANGE = re.compile(r"(?P<what>.*?)\s+in\s+\[(?P<low>[^,\]]+),(?P<high>[^,\]]+)\]\s*$")
NAMED = re.compile(r"(?P<name>[A-Za-z_]\w*(?:\.\w+)*)\s*=\s*(?P<spec>.*)$", re.DOTALL)
KEY = re.compile(r"key\(\s*(?P<seed>\d+)\s*\)\s*$")
GRAMMAR = (
    'write "float32[32,10] in [-30, 30]", "float32[32,10]", "FILE.npy" or "key(0)", '
    "with a name before it if need be: x=..."
)


def read_all(texts: list[str], parameters: list[str]) -> list[Any]:
    """The specs of a function with these positional parameters, in their order.

    Raises `InputError` for what cannot be read, a name that the function has not, and
    an argument that is given twice or not at all.
    """
    given: dict[str, Any] = {}
    free = list(parameters)
    for text in texts:
        named = NAMED.match(text.strip())
        if named is None:
            left = [name for name in free if name not in given]
            if not left:
                raise InputError(
                    f"The function takes {len(parameters)} arguments "
                    f"({', '.join(parameters)}), and the spec {text!r} is one too many."
                )
            given[left[0]] = read(text)
            continue
        name, *path = named["name"].split(".")
        if name not in parameters:
            raise InputError(
                f"The function has no argument `{name}`; it has "
                f"{', '.join(parameters) or 'none'}."
            )
        given[name] = placed(given.get(name), path, read(named["spec"]), named["name"])
    if lacking := [name for name in parameters if name not in given]:
        raise InputError(
            f"There is no spec for {', '.join(lacking)}: {GRAMMAR}, one --spec for each "
            "argument."
        )
    return [given[name] for name in parameters]


def placed(old: Any, path: list[str], spec: Any, name: str) -> Any:
    """`old` with the spec at a path of dict keys."""
    if not path:
        if old is not None:
            raise InputError(f"There are two specs for `{name}`.")
        return spec
    if old is not None and not isinstance(old, dict):
        raise InputError(
            f"`{name}` lies inside of an argument that has a spec already."
        )
    entries = dict(old or {})
    entries[path[0]] = placed(entries.get(path[0]), path[1:], spec, name)
    return entries


def read(text: str) -> Any:
    """One spec: an array, an `Interval`, a `ShapeDtypeStruct` or a key."""
    import jax

    text = text.strip()
    if text.endswith(".npy"):
        return from_file(Path(text))
    if key := KEY.match(text):
        return jax.random.key(int(key["seed"]))
    ranged = RANGE.match(text)
    what = FORMAT.match(ranged["what"] if ranged else text)
    if what is None:
        raise InputError(f"The spec {text!r} cannot be read: {GRAMMAR}.")
    dtype, shape = dtype_of(what["dtype"]), shape_of(what["shape"] or "", text)
    if ranged is None:
        return jax.ShapeDtypeStruct(shape, dtype)
    from ..numerics.intervals import Interval

    low, high = (number(ranged[end], text) for end in ("low", "high"))
    return Interval(low, high, shape, dtype)


def from_file(path: Path) -> Any:  # an array
    """The array in a file of NumPy; nothing pickled is opened."""
    import jax.numpy as jnp
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"Cannot read `{path}`: {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(
            f"`{path}` is no array of numbers that NumPy wrote with `np.save`."
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise InputError(f"`{path}` holds no real numbers.")
    return jnp.asarray(array)


def dtype_of(name: str) -> Any:
    import jax.numpy as jnp

    try:
        return jnp.dtype(getattr(jnp, name, name))
    except TypeError:
        raise InputError(
            f"There is no number format {name!r}; there are float32, bfloat16, "
            "float16, int32 and so on."
        ) from None


def shape_of(text: str, spec: str) -> tuple[int, ...]:
    sizes = [part.strip() for part in text.split(",") if part.strip()]
    if not all(size.isdigit() for size in sizes):
        raise InputError(
            f"The shape of {spec!r} must be whole numbers, as in float32[32,10]."
        )
    return tuple(map(int, sizes))


def number(text: str, spec: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"The range of {spec!r} must be two numbers, as in [-30, 30]."
        ) from None
