"""Faults that real programs have, each a small change of a healthy one.

`FAULTS` at the bottom is the whole list: for each fault what it is, which rules name it
as the cause, and for which tasks it can be planted. All are silent: the program runs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optax

from ..data import Dataset
from . import programs
from .spec import Spec


BINARY = ("breast-cancer", "moons", "circles", "spirals", "xor")
REGRESSION = ("diabetes", "regression")
TABLES = ("breast-cancer", "wine", "diabetes")


@dataclass(frozen=True)
class Fault:
    """One way in which a program can be wrong."""

    about: str
    rules: tuple[str, ...]  # ids of the rules that name this cause
    plant: Callable[[Spec], Spec]
    only: tuple[str, ...] = ()  # data sets it can be planted in; () means all
    without: tuple[str, ...] = ()
    models: tuple[str, ...] = ("mlp",)

    def fits(self, spec: Spec) -> bool:
        """Whether the fault can be planted in a program."""
        return (
            (not self.only or spec.data in self.only)
            and spec.data not in self.without
            and spec.model in self.models
        )


# -- Data ------------------------------------------------------------------------------


def raw_inputs(spec: Spec) -> Spec:
    if spec.data == "digits":
        return replace(spec, prepare=False, raw_factor=255 / 16)
    return replace(spec, prepare=False, prepare_targets=True)


def missing_values(spec: Spec) -> Spec:
    def change(train: Dataset, held: Dataset, rng: Any) -> Any:
        inputs = train.inputs.copy()
        rows = rng.choice(len(inputs), max(1, len(inputs) // 100), replace=False)
        inputs.reshape(len(inputs), -1)[rows, 0] = np.nan
        return replace(train, inputs=inputs), held

    return replace(spec, change_data=change)


def unscaled_target(spec: Spec) -> Spec:
    def change(train: Dataset, held: Dataset, rng: Any) -> Any:
        def raw(d: Dataset) -> Dataset:
            return replace(d, targets=(d.targets * 2000 + 30000).astype(np.float32))

        return raw(train), raw(held)

    return replace(spec, change_data=change)


def rare_class(spec: Spec) -> Spec:
    def change(train: Dataset, held: Dataset, rng: Any) -> Any:
        def thin(d: Dataset) -> Dataset:
            rare = np.flatnonzero(d.targets == 0)
            keep = rare[: max(2, len(rare) // 25)]
            others = np.flatnonzero(d.targets != 0)
            return d.take(rng.permutation(np.concatenate([keep, others])))

        return thin(train), thin(held)

    return replace(spec, change_data=change)


def sorted_unshuffled(spec: Spec) -> Spec:
    def change(train: Dataset, held: Dataset, rng: Any) -> Any:
        return train.take(np.argsort(train.targets, kind="stable")), held

    return replace(spec, change_data=change, shuffle=False)


def leakage(spec: Spec) -> Spec:
    def change(train: Dataset, held: Dataset, rng: Any) -> Any:
        stolen = rng.choice(len(held), max(2, len(held) // 3), replace=False)
        place = rng.choice(len(train), len(stolen), replace=False)
        inputs, targets = train.inputs.copy(), train.targets.copy()
        inputs[place], targets[place] = held.inputs[stolen], held.targets[stolen]
        return replace(train, inputs=inputs, targets=targets), held

    return replace(spec, change_data=change)


def few_samples(spec: Spec) -> Spec:
    """Few, noisy examples for a wide net that trains for long."""

    def change(train: Dataset, held: Dataset, rng: Any) -> Any:
        few = train.take(np.arange(min(60, len(train) // 2)))
        targets = few.targets.copy()
        if few.task == "classification":
            flip = rng.random(len(targets)) < 0.2
            targets[flip] = rng.permutation(targets)[flip]
        else:
            targets = (targets + 0.5 * rng.standard_normal(len(targets))).astype(
                np.float32
            )
        return replace(few, targets=targets), held

    updates = max(600, 8 * spec.epochs)
    return replace(
        spec, change_data=change, hidden=(256, 256), batch_size=20, epochs=updates / 3
    )


# -- The loss and the head ------------------------------------------------------------


def loss_is(loss: Callable[..., Any], **more: Any) -> Callable[[Spec], Spec]:
    return lambda spec: replace(spec, loss=loss, **more)


def log_softmax(spec: Spec) -> Spec:
    return replace(spec, loss=programs.log_of_softmax)


def log_softmax_overflow(spec: Spec) -> Spec:
    """The same on large inputs, where it ends in NaN."""
    return replace(
        spec,
        loss=programs.hand_written_softmax,
        change_model=lambda m, key: programs.large_head(m, 30.0),
    )


def one_unit_softmax(spec: Spec) -> Spec:
    return replace(spec, loss=programs.softmax_on_one_unit, outputs=1)


# -- Initial values and depth ------------------------------------------------------------


def model_is(change: Callable[..., Any]) -> Callable[[Spec], Spec]:
    return lambda spec: replace(spec, change_model=change)


def deep_sigmoid(spec: Spec) -> Spec:
    return replace(spec, hidden=(32,) * 10, activation="sigmoid")


def no_activation(spec: Spec) -> Spec:
    return replace(spec, hidden=spec.hidden * 2, activation="identity")


def dead_relu(spec: Spec) -> Spec:
    return replace(
        spec,
        activation="relu",
        change_model=lambda m, key: programs.negative_biases(m, -8.0),
    )


def exploding(spec: Spec) -> Spec:
    return replace(
        spec,
        activation="relu",
        hidden=(48,) * 8,
        change_model=lambda m, key: programs.rescaled(m, 3.0),
    )


def saturated(spec: Spec) -> Spec:
    return replace(
        spec,
        activation="tanh",
        change_model=lambda m, key: programs.rescaled(m, 25.0),
    )


def unit_weights(spec: Spec) -> Spec:
    return replace(spec, hidden=(64,) * 4, change_model=programs.unit_normal)


# -- Optimisation ------------------------------------------------------------------------


def step_too_large(spec: Spec) -> Spec:
    large = {"sgd": 20.0, "momentum": 2.0, "adam": 0.5}
    return replace(spec, learning_rate=large.get(spec.optimizer, 1.0))


def step_too_small(spec: Spec) -> Spec:
    return replace(spec, learning_rate=spec.learning_rate * 1e-4)


def stopped_early(spec: Spec) -> Spec:
    return replace(spec, epochs=max(0.5, spec.epochs / 25))


def by_descent(spec: Spec) -> Spec:
    """The program trained by plain gradient descent, where a fault is one of that."""
    if spec.optimizer == "sgd":
        return spec
    rate = 0.03 if spec.data in REGRESSION else 0.1
    return replace(spec, optimizer="sgd", learning_rate=rate)


def at_a_saddle(spec: Spec) -> Spec:
    """Weights so small that both factors of every path are as good as zero."""
    return replace(
        by_descent(spec),
        hidden=spec.hidden[:1],
        activation="tanh",
        change_model=lambda m, key: programs.rescaled(m, 1e-25),
    )


def correlated_inputs(spec: Spec) -> Spec:
    """One large component that all features share; what tells them apart is small."""

    def change(train: Dataset, held: Dataset, rng: Any) -> Any:
        def shared(d: Dataset) -> Dataset:
            common = rng.standard_normal((len(d), 1))
            x = (common + 0.02 * d.inputs).astype(np.float32)
            return replace(d, inputs=x)

        return shared(train), shared(held)

    return replace(by_descent(spec), change_data=change)


def tiny_batch(spec: Spec) -> Spec:
    """Single examples, at a step size that suits batches."""
    return replace(by_descent(spec), batch_size=1, epochs=spec.epochs / spec.batch_size)


def full_batch(spec: Spec) -> Spec:
    """All data at once, for as many epochs as before: few updates."""
    return replace(spec, batch_size=10_000)


def always_clipped(spec: Spec) -> Spec:
    return replace(by_descent(spec), recipe={"clip_norm": 1e-3})


def large_epsilon(spec: Spec) -> Spec:
    rate = 1e-3 if spec.optimizer != "adam" else spec.learning_rate
    return replace(spec, optimizer="adam", learning_rate=rate, recipe={"epsilon": 10.0})


def decayed_at_once(spec: Spec) -> Spec:
    """A schedule over a few updates, as many as a quarter of the epochs."""
    horizon = max(4, int(spec.epochs) // 4)
    schedule = optax.cosine_decay_schedule(spec.learning_rate, horizon)
    return replace(spec, recipe={"learning_rate": schedule})


def forgetful(spec: Spec) -> Spec:
    """Adam whose state is made anew in every update."""
    rate = spec.learning_rate if spec.optimizer == "adam" else 1e-3
    adam = optax.adam(rate)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return adam.update(updates, adam.init(updates), params)

    optimizer = optax.GradientTransformation(adam.init, update)
    return replace(spec, recipe={"optimizer": optimizer})


def too_small(spec: Spec) -> Spec:
    return replace(spec, hidden=(1,))


def wrong_first_loss(spec: Spec) -> Spec:
    return replace(spec, change_model=lambda m, key: programs.large_head(m, 60.0))


FAULTS: dict[str, Fault] = {
    "raw-inputs": Fault(
        "inputs in their units of measure, unscaled",
        ("DAT002",),
        raw_inputs,
        only=(*TABLES, "digits"),
    ),
    "missing-values": Fault(
        "NaN in one per cent of the rows", ("DAT001",), missing_values
    ),
    "unscaled-target": Fault(
        "a regression target in the ten thousands",
        ("DAT003",),
        unscaled_target,
        only=REGRESSION,
    ),
    "rare-class": Fault(
        "one class in twenty-five times fewer examples",
        ("DAT004",),
        rare_class,
        without=(*REGRESSION, "iris", "wine"),
    ),
    "sorted": Fault(
        "examples in the order of their class, never shuffled",
        ("DAT005",),
        sorted_unshuffled,
        without=REGRESSION,
        models=("mlp", "cnn"),
    ),
    "leakage": Fault(
        "a third of the held-out examples stand in the training data",
        ("DAT006",),
        leakage,
        models=("mlp", "cnn"),
    ),
    "few-samples": Fault(
        "a wide net and sixty noisy examples",
        ("GEN001",),
        few_samples,
        without=("iris", "wine"),
    ),
    "log-softmax": Fault(
        "log(softmax(z)) instead of log-softmax",
        ("NUM002",),
        log_softmax,
        without=REGRESSION,
        models=("mlp", "cnn"),
    ),
    "log-softmax-overflow": Fault(
        "exp(z)/Σexp(z) by hand, on large scores",
        ("NUM002", "NUM001"),
        log_softmax_overflow,
        without=REGRESSION,
    ),
    "softmax-twice": Fault(
        "probabilities fed to a loss that takes logits",
        ("PRG003",),
        loss_is(programs.softmax_twice),
        without=REGRESSION,
        models=("mlp", "cnn"),
    ),
    "missing-softmax": Fault(
        "raw scores fed to a loss that takes probabilities",
        ("PRG004",),
        loss_is(programs.logits_as_probabilities),
        without=REGRESSION,
    ),
    "one-unit-softmax": Fault(
        "a softmax over a single unit", ("PRG002",), one_unit_softmax, only=BINARY
    ),
    "class-numbers": Fault(
        "squared error on class numbers",
        ("PRG005",),
        loss_is(programs.squared_error_on_class_numbers),
        without=REGRESSION,
    ),
    "summed-loss": Fault(
        "the loss summed over the batch",
        ("PRG007",),
        lambda s: replace(
            s,
            loss=programs.summed_squared_error
            if s.data in REGRESSION
            else programs.summed_cross_entropy,
        ),
        models=("mlp", "cnn"),
    ),
    "broadcast": Fault(
        "(n, 1) minus (n,) in the loss",
        ("PRG006",),
        loss_is(programs.broadcast_squared_error),
        only=REGRESSION,
    ),
    "relu-head": Fault(
        "a ReLU on the output of a regression",
        ("PRG001",),
        loss_is(programs.relu_head, predict=programs.predict_relu),
        only=REGRESSION,
    ),
    "sigmoid-head": Fault(
        "a sigmoid on the output of a regression",
        ("PRG001",),
        loss_is(programs.sigmoid_head, predict=programs.predict_sigmoid),
        only=REGRESSION,
    ),
    "cut-off": Fault(
        "a stop_gradient before the first layer",
        ("PRG008",),
        loss_is(programs.without_body),
        without=REGRESSION,
    ),
    "no-activation": Fault(
        "affine layers with nothing between them",
        ("PRG009",),
        no_activation,
        without=("iris", "wine", "breast-cancer"),
    ),
    "wrong-first-loss": Fault(
        "a last layer sixty times too large", ("INI001",), wrong_first_loss
    ),
    "constant-weights": Fault(
        "every weight the same",
        ("INI002",),
        model_is(lambda m, key: programs.constant(m, 0.05)),
    ),
    "unit-weights": Fault(
        "standard normal weights, whatever the fan-in",
        ("INI003", "SIG002"),
        unit_weights,
    ),
    "deep-sigmoid": Fault(
        "ten sigmoid layers", ("SIG001",), deep_sigmoid, without=REGRESSION
    ),
    "exploding": Fault(
        "eight layers, each three times too large", ("SIG002", "INI003"), exploding
    ),
    "dead-relu": Fault("biases at -8 before ReLU", ("SIG003",), dead_relu),
    "saturated": Fault(
        "weights that drive tanh to its ends", ("SIG004", "INI003"), saturated
    ),
    "step-too-large": Fault(
        "a step size far beyond 2/λ", ("OPT001",), step_too_large, models=("mlp", "cnn")
    ),
    "step-too-small": Fault(
        "a step size ten thousand times too small",
        ("OPT002",),
        step_too_small,
        models=("mlp", "cnn"),
    ),
    "stopped-early": Fault(
        "a twenty-fifth of the epochs it needs", ("OPT006",), stopped_early
    ),
    "too-small": Fault(
        "one hidden unit", ("GEN002",), too_small, only=("digits", "wine", "blobs")
    ),
    "saddle": Fault(
        "weights so small that descent starts on a saddle and stays",
        ("OPT008", "INI003"),
        at_a_saddle,
        without=REGRESSION,
    ),
    "correlated-inputs": Fault(
        "features that are all but one quantity",
        ("OPT009",),
        correlated_inputs,
        only=("breast-cancer", "wine"),
    ),
    "one-wire": Fault(
        "a layer of one unit between wide ones",
        ("SIG006", "GEN002"),
        lambda s: replace(s, hidden=(s.hidden[0], 1, s.hidden[0])),
        only=("digits",),
    ),
    "tiny-batch": Fault(
        "single examples at a step size for batches",
        ("OPT010",),
        tiny_batch,
        only=REGRESSION,
    ),
    "full-batch": Fault(
        "all data in one batch, and so few updates",
        ("OPT011",),
        full_batch,
        only=("digits", "diabetes"),
    ),
    "always-clipped": Fault(
        "a gradient norm clipped to a thousandth",
        ("OPT012",),
        always_clipped,
        models=("mlp", "cnn"),
    ),
    "large-epsilon": Fault(
        "Adam with an ε far above every gradient", ("OPT013",), large_epsilon
    ),
    "decayed-at-once": Fault(
        "a schedule that ends after a handful of updates",
        ("OPT014",),
        decayed_at_once,
        models=("mlp", "cnn"),
    ),
    "forgetful-adam": Fault(
        "the optimiser's state made anew in every update",
        ("OPT015",),
        forgetful,
        models=("mlp", "cnn"),
    ),
}
