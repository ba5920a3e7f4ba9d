"""A program in a few choices, and how it is put together from them.

Named problems and random ones are the same thing: a `Spec`. A fault is a change of the
spec, so that a sick program and its healthy twin differ in the fault alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import data as sets
from ..data import Dataset
from ..training import Problem, Recipe
from . import programs


class Case(NamedTuple):
    """A training program, and what is known to be wrong with it."""

    problem: Problem
    recipe: Recipe
    fault: str  # "" for a healthy program
    about: str


@dataclass(frozen=True)
class Spec:
    """The choices that make a program."""

    data: str = "digits"
    model: str = "mlp"
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 32
    epochs: float = 20
    shuffle: bool = True
    seed: int = 0
    fault: str = ""
    loss: Callable[..., Any] | None = None  # None: what suits the task
    predict: Callable[..., Any] | None = None
    prepare: bool = True  # scale the inputs (and the targets of a regression)
    prepare_targets: bool = True
    raw_factor: float = 1.0  # inputs are multiplied by this
    change_data: Callable[..., Any] | None = None  # (train, held out, rng) -> the same
    change_model: Callable[..., Any] | None = None  # (model, key) -> model
    outputs: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)  # its other fields


GENERATED = {
    "moons": lambda seed: sets.moons(500, noise=0.15, seed=seed),
    "circles": lambda seed: sets.circles(500, noise=0.08, seed=seed),
    "spirals": lambda seed: sets.spirals(600, turns=1.0, noise=0.03, seed=seed),
    "blobs": lambda seed: sets.blobs(500, classes=4, dim=3, noise=0.6, seed=seed),
    "xor": lambda seed: sets.xor(500, noise=0.3, seed=seed),
    "regression": lambda seed: sets.regression(600, dim=4, noise=0.2, seed=seed),
}


def raw_data(name: str, seed: int) -> Dataset:
    """An embedded or a generated data set by name."""
    return GENERATED[name](seed) if name in GENERATED else sets.load(name)


def build(spec: Spec) -> Case:
    """Put a program together."""
    dataset = raw_data(spec.data, spec.seed)
    train, held = sets.stratified(dataset, 0.2, seed=spec.seed)
    classify = dataset.task == "classification"
    if spec.prepare and spec.data == "digits":  # pixels: one scale for all
        train, held = (replace(d, inputs=d.inputs / 16) for d in (train, held))
    elif spec.prepare:
        train, held = sets.standardise(train, held)
    if not classify and spec.prepare_targets:
        train, held = sets.standardise_targets(train, held)
    if spec.raw_factor != 1.0:
        factor = np.float32(spec.raw_factor)
        train, held = (replace(d, inputs=d.inputs * factor) for d in (train, held))
    if spec.change_data is not None:
        train, held = spec.change_data(train, held, np.random.default_rng(spec.seed))
    model_key, change_key = jax.random.split(jax.random.key(spec.seed))
    outputs = spec.outputs or (len(dataset.classes) if classify else 1)
    if spec.model == "cnn":
        train, held = (
            replace(d, inputs=d.inputs.reshape(-1, 8, 8, 1)) for d in (train, held)
        )
        channels = list(spec.hidden)
        model = programs.cnn((8, 8, 1), channels, outputs, spec.activation, model_key)
    else:
        sizes = [train.inputs.shape[1], *spec.hidden, outputs]
        model = programs.mlp(sizes, spec.activation, model_key)
    if spec.change_model is not None:
        model = spec.change_model(model, change_key)
    loss = spec.loss or (programs.cross_entropy if classify else programs.squared_error)
    image = dataset.image_shape
    notes = dict(spec.notes) | ({"image_shape": list(image)} if image else {})
    if dataset.classes:
        notes["classes"] = list(dataset.classes)
    base = f"{spec.data}/{spec.model}"
    problem = Problem(
        model=model,
        loss=loss,
        data=train.arrays,
        validation=held.arrays,
        predict=spec.predict or programs.predict,
        name=f"{base}/{spec.fault}" if spec.fault else base,
        notes=notes,
    )
    recipe = Recipe(
        optimizer=spec.optimizer,
        learning_rate=spec.learning_rate,
        batch_size=spec.batch_size,
        epochs=spec.epochs,
        shuffle=spec.shuffle,
        seed=spec.seed,
    )
    recipe = replace(recipe, **spec.recipe)
    return Case(problem, recipe, spec.fault, "")
