"""Problems by name: `digits/mlp`, and its sick variants `digits/mlp/log-softmax`."""

import difflib
import zlib
from dataclasses import replace

import numpy as np

from ..core.errors import InputError
from .faults import FAULTS
from .spec import Case, Spec, build


DEFAULT = "digits/mlp/raw-inputs"

HEALTHY = {
    "digits/mlp": (Spec(), "8×8 pictures of digits, ten classes"),
    "digits/cnn": (
        Spec(model="cnn", hidden=(8, 16), epochs=8, learning_rate=3e-3),
        "the same by convolution",
    ),
    "breast-cancer/mlp": (
        Spec("breast-cancer", hidden=(16,), epochs=20, learning_rate=2e-3),
        "thirty measurements of cell nuclei, two classes",
    ),
    "wine/mlp": (
        Spec("wine", hidden=(16,), epochs=40, batch_size=16, learning_rate=3e-3),
        "thirteen chemical measurements, three classes",
    ),
    "iris/mlp": (
        Spec("iris", hidden=(16,), epochs=60, batch_size=16, learning_rate=5e-3),
        "four lengths of flowers, three classes",
    ),
    "diabetes/mlp": (
        Spec("diabetes", hidden=(16,), epochs=20, learning_rate=2e-3),
        "ten measurements of patients, a regression",
    ),
    "moons/mlp": (
        Spec("moons", hidden=(32, 32), epochs=40, learning_rate=5e-3),
        "two half circles, generated",
    ),
    "regression/mlp": (
        Spec("regression", hidden=(32, 32), epochs=30, learning_rate=5e-3),
        "a smooth function of four variables with known noise",
    ),
}

VARIANTS = {
    "digits/mlp": (
        "raw-inputs",
        "log-softmax",
        "log-softmax-overflow",
        "deep-sigmoid",
        "step-too-large",
        "step-too-small",
        "dead-relu",
        "summed-loss",
        "softmax-twice",
        "sorted",
        "leakage",
        "few-samples",
        "constant-weights",
        "missing-values",
        "full-batch",
        "always-clipped",
        "large-epsilon",
        "decayed-at-once",
        "forgetful-adam",
    ),
    "digits/cnn": ("softmax-twice", "step-too-large", "sorted", "leakage"),
    "breast-cancer/mlp": (
        "raw-inputs",
        "one-unit-softmax",
        "step-too-small",
        "rare-class",
    ),
    "wine/mlp": (
        "raw-inputs",
        "missing-softmax",
        "wrong-first-loss",
        "stopped-early",
        "saddle",
        "correlated-inputs",
    ),
    "iris/mlp": ("softmax-twice", "class-numbers", "saturated", "cut-off"),
    "diabetes/mlp": (
        "raw-inputs",
        "broadcast",
        "unscaled-target",
        "summed-loss",
        "relu-head",
    ),
    "moons/mlp": ("dead-relu", "unit-weights", "step-too-large"),
    "regression/mlp": ("broadcast", "sigmoid-head", "exploding", "tiny-batch"),
}


def names() -> tuple[str, ...]:
    """Every named problem, the healthy ones before their sick variants."""
    result = []
    for name in HEALTHY:
        result += [name, *(f"{name}/{fault}" for fault in VARIANTS[name])]
    return tuple(result)


def make(name: str, *, seed: int = 0) -> Case:
    """The named problem with its recipe; any fault may be asked for that fits.

    Raises `InputError`, with the nearest names, for one that does not exist.
    """
    base, _, fault = name, "", ""
    if name.count("/") == 2:
        base, _, fault = name.rpartition("/")
    if base not in HEALTHY or fault not in ("", *FAULTS) or name.endswith("/"):
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InputError(
            f"There is no problem {name!r}.{hint} `steepest problems` lists them all."
        )
    spec = replace(HEALTHY[base][0], seed=seed)
    about = HEALTHY[base][1]
    if fault:
        if not FAULTS[fault].fits(spec):
            raise InputError(f"The fault {fault!r} cannot be planted in {base!r}.")
        spec = replace(FAULTS[fault].plant(spec), fault=fault)
        about = FAULTS[fault].about
    return build(spec)._replace(about=about)


def describe(name: str) -> str:
    """What a named problem is, in a few words."""
    base, _, fault = name.rpartition("/")
    return FAULTS[fault].about if base in HEALTHY else HEALTHY[name][1]


def draw(seed: int, fault: str | None = "random") -> Case:
    """A random program: data, width, depth, activation, optimiser, step size, seed.

    `fault` is the name of one, `"random"`, or None for a healthy program. The healthy
    program of a seed is the twin of the sick one: the same but for the fault.

    Raises `InputError` for a fault that does not exist, or not in this program.
    """
    rng = np.random.default_rng((seed, zlib.crc32(b"steepest.problems.draw")))
    data = str(
        rng.choice(
            [
                "digits",
                "breast-cancer",
                "wine",
                "iris",
                "diabetes",
                "moons",
                "circles",
                "blobs",
                "xor",
                "regression",
            ]
        )
    )
    width = int(rng.choice([16, 24, 32, 48, 64]))
    depth = int(rng.choice([1, 2, 2, 3]))
    optimizer, rate = [("adam", 3e-3), ("momentum", 0.02), ("sgd", 0.1)][
        rng.integers(3)
    ]
    if data in ("diabetes", "regression"):
        rate = {"adam": 3e-3, "momentum": 0.005, "sgd": 0.03}[optimizer]
    examples = {"digits": 1437, "breast-cancer": 455, "wine": 142, "iris": 120}
    batch = int(rng.choice([16, 32]))
    n = examples.get(data, 400)
    updates = 500 if data in ("wine", "iris", "breast-cancer") else 800
    if data == "diabetes":
        updates, width, depth = 300, 16, 1
    spec = Spec(
        data,
        hidden=(width,) * depth,
        activation=str(rng.choice(["relu", "relu", "tanh", "gelu", "silu"])),
        optimizer=optimizer,
        learning_rate=float(rate * rng.choice([0.7, 1.0, 1.4])),
        batch_size=batch,
        epochs=updates * batch / n,
        seed=seed,
    )
    if fault is None:
        return build(spec)
    if fault == "random":
        fitting = [name for name, f in FAULTS.items() if f.fits(spec)]
        fault = str(rng.choice(fitting))
    if fault not in FAULTS:
        raise InputError(f"There is no fault {fault!r}; there are {', '.join(FAULTS)}.")
    if not FAULTS[fault].fits(spec):
        raise InputError(f"The fault {fault!r} cannot be planted in {data!r}.")
    case = build(replace(FAULTS[fault].plant(spec), fault=fault))
    return case._replace(about=FAULTS[fault].about)
