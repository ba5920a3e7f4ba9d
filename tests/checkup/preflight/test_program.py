"""What is read from a program: nothing where a sound program resembles a faulty one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from records import judge
from small import (
    by_loss,
    classes,
    classifier,
    cross_entropy,
    facts,
    net,
    numbers,
    regression,
    seen,
    squared,
    weights,
)

from steepest import Aux, Problem, Recipe, Record
from steepest.checkup.preflight import program, reading


# -- Look-alikes -------------------------------------------------------------------------------


def attention():
    """A softmax, a product, a softmax."""
    x = np.random.default_rng(0).standard_normal((60, 5, 4)).astype(np.float32)
    params = dict(zip("qkvo", weights((4, 8), (4, 8), (4, 8), (40, 3)), strict=True))

    def apply(p, x):
        scores = jnp.einsum("nid,njd->nij", x @ p["q"], x @ p["k"])
        h = jax.nn.softmax(scores) @ (x @ p["v"])
        return jax.nn.relu(h).reshape(len(x), -1) @ p["o"]

    return classifier(params, apply, (x, classes()[1]))


def bottleneck():
    """A matrix of low rank, as a product of two."""

    def apply(p, x):
        return jax.nn.relu(x @ p[0] @ p[1]) @ p[2]

    return classifier(weights((4, 2), (2, 16), (16, 3)), apply)


def separable():
    """A convolution of each channel, then one of each pixel."""
    x = np.random.default_rng(0).standard_normal((60, 6, 6, 4)).astype(np.float32)
    params = weights((3, 3, 1, 4), (1, 1, 4, 8), (8, 3))
    conv = partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

    def apply(p, x):
        h = conv(conv(x, p[0], feature_group_count=4), p[1])
        return jax.nn.relu(h).mean(axis=(1, 2)) @ p[2]

    return classifier(params, apply, (x, classes()[1]))


def zero_residual():
    """Branches that end in zeros."""
    params = weights((4, 8), (8, 8), (8, 8), (8, 3))
    params[2] = jnp.zeros((8, 8))

    def apply(p, x):
        h = x @ p[0]
        h = h + jax.nn.relu(h @ p[1]) @ p[2]
        return h @ p[3]

    return classifier(params, apply)


def logistic():
    """Logistic regression that starts at zero."""
    return classifier([jnp.zeros((4, 3))], net)


def tied():
    """One matrix forth and back."""

    def apply(p, x):
        return jnp.tanh(jax.nn.relu(x @ p[0]) @ p[0].T) @ p[1]

    return classifier(weights((4, 8), (4, 3)), apply)


def double_where():
    """A root that is guarded on both sides."""

    def apply(p, x):
        square = jnp.sum(jnp.maximum(x, 0) ** 2, axis=-1, keepdims=True)
        safe = jnp.where(square > 0, square, 1.0)
        length = jnp.where(square > 0, jnp.sqrt(safe), 0.0)
        return net(p, jnp.concatenate([x, length], axis=-1))

    return classifier(weights((5, 8), (8, 3)), apply)


def frozen():
    """A layer that is cut off, and declared to be."""

    def apply(p, x):
        p = dict(p, base=jax.lax.stop_gradient(p["base"]))
        return jax.nn.relu(x @ p["base"]) @ p["head"]

    params = dict(zip(("base", "head"), weights((4, 8), (8, 3)), strict=True))
    return classifier(params, apply, notes={"frozen": ["base"]})


def straight_through():
    """A rounding with a derivative of its own."""

    @jax.custom_vjp
    def sign(z):
        return jnp.sign(z)

    sign.defvjp(lambda z: (jnp.sign(z), None), lambda _, g: (g,))
    return classifier(weights((4, 8), (8, 3)), lambda p, x: sign(x @ p[0]) @ p[1])


def straight_through_by_difference():
    """The same without a rule: z + stop(round(z) − z)."""

    def apply(p, x):
        z = jax.nn.sigmoid(x @ p[0])
        return (z + jax.lax.stop_gradient(jnp.round(z) - z)) @ p[1]

    return classifier(weights((4, 8), (8, 3)), apply)


def as_wide_as_the_batch():
    """Layers and classes as many as there are examples in the batch that is traced."""
    n = reading.SIZES[0]
    x, _ = classes(n)
    data = (x, np.arange(n, dtype=np.int32))

    def loss(p, batch):
        x, y = batch
        p_hat = jax.nn.softmax(net(p, x))
        return jnp.mean((p_hat - jax.nn.one_hot(y, n)) ** 2)

    return by_loss(loss, weights((4, n), (n, n)), data=data)


def autoencoder():
    """A target of two axes, as wide as it is long."""
    x = np.random.default_rng(0).standard_normal((60, 23)).astype(np.float32)
    return by_loss(
        lambda p, b: jnp.mean((net(p, b[0]) - b[1]) ** 2),
        weights((23, 8), (8, 23)),
        data=(x, x),
    )


def penalised():
    """A penalty on the weights beside the mean loss."""

    def loss(p, batch):
        return cross_entropy(net(p, batch[0]), batch[1]) + 0.1 * sum(
            jnp.sum(w**2) for w in p
        )

    return by_loss(loss)


def smoothed():
    """Smoothed labels."""

    def loss(p, batch):
        targets = optax.smooth_labels(jax.nn.one_hot(batch[1], 3), 0.1)
        return optax.softmax_cross_entropy(net(p, batch[0]), targets).mean()

    return by_loss(loss)


def weighted():
    """Classes with weights."""

    def loss(p, batch):
        w = jnp.where(batch[1] == 0, 10.0, 1.0)
        each = optax.softmax_cross_entropy_with_integer_labels(
            net(p, batch[0]), batch[1]
        )
        return jnp.sum(w * each) / jnp.sum(w)

    return by_loss(loss)


def batch_norm():
    """Statistics of the batch, and a state of them."""
    w, v = weights((4, 8), (8, 3))
    params = {"w": w, "scale": jnp.ones(8), "shift": jnp.zeros(8), "v": v}

    def loss(p, batch, key, state):
        x, y = batch
        z = x @ p["w"]
        mean, var = z.mean(axis=0), z.var(axis=0)
        z = (z - mean[None]) / jnp.sqrt(var + 1e-5)[None]
        h = jax.nn.relu(z * p["scale"][None] + p["shift"][None])
        new = {"mean": 0.9 * state["mean"] + 0.1 * mean}
        aux = Aux(jax.tree.map(jax.lax.stop_gradient, new))
        return cross_entropy(h @ p["v"], y), aux

    return Problem(params, loss, classes(), state={"mean": jnp.zeros(8)})


def dropout():
    """A random mask."""

    def loss(p, batch, key):
        x, y = batch
        keep = jax.random.bernoulli(key, 0.8, x.shape)
        return cross_entropy(net(p, jnp.where(keep, x / 0.8, 0.0)), y)

    return Problem(weights((4, 8), (8, 3)), loss, classes())


def named():
    """Batches with names."""
    x, y = classes()
    return by_loss(
        lambda p, b: cross_entropy(net(p, b["image"]), b["label"]),
        data={"image": x, "label": y},
    )


def streamed():
    """Batches one after the other, smaller than those that are traced of arrays."""
    x, y = classes(96)
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 96, 16)]
    return classifier(weights((4, 16), (16, 16), (16, 3)), net, batches)


def embedding():
    """Rows of a table that are not looked up have no gradient, and a way to get one."""
    tokens = np.random.default_rng(0).integers(0, 9, (60, 6)).astype(np.int32)
    params = dict(zip(("table", "out"), weights((50, 8), (8, 3)), strict=True))

    def apply(p, x):
        return jnp.tanh(p["table"][x].mean(axis=1)) @ p["out"]

    return classifier(params, apply, (tokens, classes()[1]))


def images():
    """Convolutions on pictures with the channels last, and a linear head."""
    x = np.random.default_rng(0).random((60, 8, 8, 3)).astype(np.float32)

    def apply(p, x):
        h = jax.lax.conv_general_dilated(
            x, p[0], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jax.nn.relu(h).reshape(len(x), -1) @ p[1]

    return classifier(weights((3, 3, 3, 4), (64, 3)), apply, (x, classes()[1]))


def recurrent():
    """A loop over time."""
    x = np.random.default_rng(0).standard_normal((60, 7, 4)).astype(np.float32)

    def apply(p, x):
        def step(h, x):
            return jnp.tanh(x @ p[0] + h @ p[1]), None

        h, _ = jax.lax.scan(step, jnp.zeros((len(x), 8)), x.transpose(1, 0, 2))
        return h @ p[2]

    return classifier(weights((4, 8), (8, 8), (8, 3)), apply, (x, classes()[1]))


def mapped():
    """The loss of one example, mapped over the batch."""

    def loss(p, batch):
        def one(x, y):
            return optax.softmax_cross_entropy_with_integer_labels(net(p, x), y)

        return jax.vmap(one)(*batch).mean()

    return by_loss(loss)


def binary():
    """One logit, 0/1 labels, and a sigmoid in what is predicted."""
    x, y = classes(k=2)
    params = weights((4, 8), (8, 1))

    def loss(p, batch):
        z = net(p, batch[0])[:, 0]
        return optax.sigmoid_binary_cross_entropy(
            z, batch[1].astype(jnp.float32)
        ).mean()

    return Problem(params, loss, (x, y), predict=lambda p, x: jax.nn.sigmoid(net(p, x)))


def brier():
    """0/1 labels against one probability."""
    x, y = classes(k=2)

    def loss(p, batch):
        p_hat = jax.nn.sigmoid(net(p, batch[0])[:, 0])
        return jnp.mean((p_hat - batch[1].astype(jnp.float32)) ** 2)

    return by_loss(loss, weights((4, 8), (8, 1)), data=(x, y))


def counts():
    """A Poisson loss: the logarithm of a rate that is positive by construction."""
    x, _ = numbers()
    y = np.random.default_rng(0).poisson(2.0, 60).astype(np.float32)

    def loss(p, batch):
        rate = jax.nn.softplus(net(p, batch[0])[:, 0]) + 1e-3
        return jnp.mean(rate - batch[1] * jnp.log(rate))

    return by_loss(loss, weights((4, 8), (8, 1)), data=(x, y))


def gaussian():
    """A mean and the logarithm of a variance."""

    def loss(p, batch):
        out = net(p, batch[0])
        mean, log_var = out[:, 0], out[:, 1]
        return jnp.mean(
            0.5 * log_var + 0.5 * (batch[1] - mean) ** 2 * jnp.exp(-log_var)
        )

    return by_loss(loss, weights((4, 8), (8, 2)), data=numbers())


def logsumexp():
    """log Σ exp, by hand and stable."""

    def loss(p, batch):
        z = net(p, batch[0])
        top = z.max(axis=-1, keepdims=True)
        log_z = top[:, 0] + jnp.log(jnp.exp(z - top).sum(axis=-1))
        return jnp.mean(log_z - jnp.take_along_axis(z, batch[1][:, None], 1)[:, 0])

    return by_loss(loss)


LOOK_ALIKES = [
    attention,
    bottleneck,
    separable,
    zero_residual,
    logistic,
    tied,
    double_where,
    frozen,
    straight_through,
    straight_through_by_difference,
    as_wide_as_the_batch,
    autoencoder,
    penalised,
    smoothed,
    weighted,
    batch_norm,
    dropout,
    named,
    streamed,
    embedding,
    images,
    recurrent,
    mapped,
    binary,
    brier,
    counts,
    gaussian,
    logsumexp,
]


@pytest.mark.parametrize("make", LOOK_ALIKES, ids=lambda make: make.__name__)
def test_a_sound_program_that_resembles_a_faulty_one_is_silent(make):
    assert seen(make()) == {}


# -- Faults in other forms than the planted ones ---------------------------------------------


@pytest.mark.parametrize(
    "softmax",
    [
        jax.nn.softmax,
        lambda z: jnp.exp(z - jax.nn.logsumexp(z, axis=-1, keepdims=True)),
        lambda z: jnp.exp(jax.nn.log_softmax(z)),
        lambda z: jnp.exp(z) / jnp.exp(z).sum(axis=-1, keepdims=True),
    ],
    ids=["library", "logsumexp", "log_softmax", "by hand"],
)
def test_a_softmax_twice_is_seen_however_the_first_is_written(softmax):
    apply = lambda p, x: softmax(net(p, x))
    found = facts(classifier(weights((4, 8), (8, 3)), apply))["softmax_twice"]
    assert [f["classes"] for f in found] == [3]
    assert found[0]["inner"].startswith("test_program.py:")


def test_a_log_of_softmax_is_seen_bare_or_guarded_and_through_calls():
    def loss(guard):
        @jax.jit
        def inner(p, x, y):
            probability = guard(jax.nn.softmax(net(p, x)))
            return -jnp.log(probability)[jnp.arange(len(y)), y].mean()

        return lambda p, b: inner(p, *b)

    for guard, guarded in (
        (lambda p: p, False),
        (lambda p: p + 1e-8, True),
        (lambda p: jnp.clip(p, 1e-7, 1.0), True),
    ):
        found = facts(by_loss(loss(guard)))["log_of_softmax"]
        assert [f["guarded"] for f in found] == [guarded]
        assert found[0]["place"].startswith("test_program.py:")


@pytest.mark.parametrize("sigmoid", [jax.nn.sigmoid, lambda z: 1 / (1 + jnp.exp(-z))])
def test_a_log_of_a_sigmoid_is_seen_on_both_sides(sigmoid):
    def loss(p, batch):
        q = sigmoid(net(p, batch[0])[:, 0])
        t = batch[1].astype(jnp.float32)
        return -jnp.mean(t * jnp.log(q) + (1 - t) * jnp.log(1 - q))

    found = seen(by_loss(loss, weights((4, 8), (8, 1)), data=classes(k=2)))
    assert [f["of"] for f in found.pop("log_of_softmax")] == ["sigmoid", "sigmoid"]
    assert found == {}


def test_the_broadcast_is_seen_in_batches_of_an_iterable():
    x, y = numbers(96)
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 96, 16)]

    def loss(p, batch):
        with jax.numpy_rank_promotion("allow"):
            return jnp.mean((net(p, batch[0]) - batch[1]) ** 2)

    problem = by_loss(loss, weights((4, 16), (16, 1)), data=batches)
    assert len(facts(problem)["broadcast"]) == 1


def test_a_table_of_pairs_on_purpose_may_be_reported_and_breaks_nothing():
    def contrastive(p, batch):
        z = net(p, batch[0])
        z = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
        same = (batch[1][:, None] == batch[1][None]).astype(jnp.float32)
        return -(same * jax.nn.log_softmax(z @ z.T)).mean()

    assert set(seen(by_loss(contrastive))) <= {"broadcast"}


def test_names_of_frozen_parameters_are_paths_and_no_prefixes():
    def apply(p, x):
        p = jax.tree.map(jax.lax.stop_gradient, p)
        return jax.nn.relu(x @ p["w1"]) @ p["w10"]

    params = dict(zip(("w1", "w10"), weights((4, 8), (8, 3)), strict=True))
    problem = classifier(params, apply, notes={"frozen": ["w1"]})
    paths = [f["path"] for f in facts(problem)["without_gradient"]]
    assert paths == ["w10"]


def test_what_cuts_a_gradient_is_named_with_its_line():
    def apply(p, x):
        h = jax.lax.stop_gradient(x @ p["cut"])
        return jnp.tanh(h) @ p["head"]

    params = dict(
        zip(("cut", "head", "idle"), weights((4, 8), (8, 3), (5, 5)), strict=True)
    )
    found = facts(classifier(params, apply))["without_gradient"]
    by = {f["path"]: f["by"] for f in found}
    assert by == {"cut": "cut", "idle": "unused"}


def test_a_stack_without_activations_is_seen_through_biases_and_reshapes():
    x = np.random.default_rng(0).standard_normal((60, 2, 2)).astype(np.float32)
    params = [*weights((4, 8), (8, 8), (8, 3)), jnp.zeros(8)]

    def apply(p, x):
        h = x.reshape(len(x), -1) @ p[0] + p[3][None]
        return (h.reshape(len(x), 8) @ p[1]) @ p[2]

    assert len(facts(classifier(params, apply, (x, classes()[1])))["linear_stack"]) == 2


# -- Numbers ---------------------------------------------------------------------------------


def growth(problem):
    return program.batch_growth(problem)


@pytest.mark.parametrize("make", [penalised, weighted, batch_norm])
def test_a_mean_does_not_grow_with_the_batch(make):
    assert growth(make()) == pytest.approx(1.0, rel=1e-4)


def test_a_sum_grows_as_the_batch_also_with_a_penalty():
    def loss(p, batch):
        each = optax.softmax_cross_entropy_with_integer_labels(
            net(p, batch[0]), batch[1]
        )
        return each.sum() + 0.01 * sum(jnp.sum(w**2) for w in p)

    assert growth(by_loss(loss)) > 1.9


def outputs(head, target):
    x, _ = numbers()
    problem = regression(weights((4, 8), (8, 1)), lambda p, x: head(net(p, x)))
    problem = Problem(
        problem.model,
        problem.loss,
        (x, target.astype(np.float32)),
        predict=problem.predict,
    )
    record = Record(facts={})
    fact = program.output_range(problem)
    record.facts["program.output_range"] = fact
    return fact, judge("PRG001", record) is not None


SIGNED = np.random.default_rng(0).standard_normal(60)


@pytest.mark.parametrize(
    ("head", "target", "operation", "found"),
    [
        (lambda z: z, SIGNED, None, False),
        (jax.nn.relu, SIGNED, "ReLU", True),
        (jax.nn.relu, np.abs(SIGNED), "ReLU", False),
        (jax.nn.sigmoid, SIGNED, "sigmoid", True),
        (jax.nn.sigmoid, np.clip(SIGNED, -1, 1) / 4 + 0.5, "sigmoid", False),
        (jnp.tanh, 3 * SIGNED, "tanh", True),
        (jnp.exp, np.exp(SIGNED), "exp", False),
        (lambda z: 5 * jnp.tanh(z), 3 * SIGNED, None, False),
    ],
    ids=["affine", "relu", "relu of a positive target", "sigmoid", "share", "tanh", "exp",
         "scaled tanh"],
)  # fmt: skip
def test_the_range_of_the_output_is_held_against_the_targets(
    head, target, operation, found
):
    fact, judged = outputs(head, target)
    assert judged == found
    if operation:
        assert fact["operation"] == operation


def test_a_loss_that_cannot_be_read_costs_nothing_but_these_facts():
    def loss(p, batch):
        raise TypeError("no")

    record = Record()
    program.measure(by_loss(loss), Recipe(), record)
    assert "could not be read: TypeError: no" in record.missing["program.broadcast"]
    assert not any(name.startswith("program.") for name in record.facts)


def test_squared_errors_of_columns_are_no_broadcast():
    x, y = numbers()
    assert "broadcast" not in seen(
        by_loss(
            lambda p, b: squared(net(p, b[0]), b[1]),
            weights((4, 8), (8, 1)),
            data=(x, y),
        )
    )
