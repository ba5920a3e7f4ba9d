"""Every kind of program that JAX can trace goes through every reading of programs.

`ZOO` maps a name to a function and its arguments. For each of them: the identity
interpretation is the function bit for bit; `capture` leaves result and gradient alone;
`graph` and `locate_nonfinite` come back without an error and without blame.
"""

import functools
from collections import Counter
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

from steepest.core import capture, jaxpr, trainable
from steepest.core.graph import graph
from steepest.numerics import locate_nonfinite


x = jnp.linspace(-2.0, 2.0, 12).reshape(3, 4)
W = jnp.sin(jnp.arange(16.0)).reshape(4, 4)
A = W @ W.T + jnp.eye(4)
z = lax.complex(x[:, :3], x[:, 1:])
n = jnp.arange(12, dtype=jnp.int32).reshape(3, 4)
image = jnp.sin(jnp.arange(2 * 6 * 6 * 3.0)).reshape(2, 6, 6, 3)
KEY = jax.random.key(0)


# -- Functions with rules of their own ---------------------------------------------------


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def applied(f, x):
    return f(x)


@applied.defjvp
def _(f, primals, tangents):
    return f(primals[0]), 2 * tangents[0]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def scaled(x, factor):
    return factor * jnp.tanh(x)


scaled.defvjp(lambda x, f: (scaled(x, f), x), lambda f, x, g: (f * g * jnp.cos(x),))


@jax.custom_gradient
def straight_through(x):
    return jnp.round(x), lambda g: (g,)


@jax.custom_batching.custom_vmap
def batched_by_hand(x):
    return jnp.sin(x)


@batched_by_hand.def_vmap
def _(size, batched, x):
    return jnp.cos(x), batched[0]


# -- Control flow ----------------------------------------------------------------------


def cumulative(x, **options):
    step = lambda h, x: (jnp.tanh(W @ h + x), h.sum())
    return lax.scan(step, jnp.ones(4), x, **options)


def nested(x):
    def outer(h, row):
        inner = lambda c, e: (c * 0.5 + e, jnp.sin(c))
        return lax.scan(inner, h, row, reverse=True)

    return lax.scan(outer, jnp.float32(0), x)


def counting(x):
    return lax.scan(lambda i, _: (i + 1, x * i.astype(x.dtype)), 0, None, length=3)


def empty(x):
    return lax.scan(lambda h, x: (h + x, jnp.tanh(h)), jnp.ones(4), x[:0])


def collatz(n):
    halve, triple = lambda n: n // 2, lambda n: 3 * n + 1
    go = lambda s: s[0] > 1
    turn = lambda s: (lax.cond(s[0] % 2 == 0, halve, triple, s[0]), s[1] + 1)
    return lax.while_loop(go, turn, (n, 0))


def while_with_constants(x):
    limit, factor = x.sum() + 50, 1 + jnp.abs(x[0])
    return lax.while_loop(lambda v: v.sum() < limit, lambda v: v * factor + 1, x[1])


def loop_in_loop(x):
    def body(i, x):
        return lax.while_loop(lambda v: v.max() > 1, lambda v: v / 2, x + i)

    return lax.fori_loop(0, 3, lambda i, x: body(i.astype(x.dtype), x), x)


def switching(i, x):
    cases = [jnp.sin, jnp.cos, lambda x: (x @ W).T.reshape(x.shape)]
    return lax.switch(i, cases, x)


def branching_in_scan(x):
    def step(h, x):
        h = lax.cond(x.sum() > 0, lambda h: jnp.tanh(W @ h), lambda h: h / 2, h)
        return h, lax.cond(h[0] > 0, lambda: 1, lambda: 0)

    return lax.scan(step, jnp.ones(4), x)


# -- Libraries -------------------------------------------------------------------------


def equinox_mlp(x):
    model = eqx.nn.MLP(4, 2, 8, 2, activation=jax.nn.silu, key=KEY)
    return jax.vmap(model)(x)


def equinox_recurrent(x):
    cell = eqx.nn.GRUCell(4, 5, key=KEY)
    return lax.scan(lambda h, x: (cell(x, h), None), jnp.zeros(5), x)[0]


def equinox_stateful(x):
    layer, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", mode="batch")
    run = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return run(x, state)[0]


def equinox_attention(x):
    layer = eqx.nn.MultiheadAttention(2, 4, dropout_p=0.5, key=KEY)
    return layer(x, x, x, mask=jnp.tri(3, dtype=bool), key=KEY)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        x = nnx.max_pool(x, (2, 2), (2, 2))
        for layer in self.layers:
            x = nnx.gelu(layer(self.dropout(x)))
        return x


BLOCK = trainable(Block(nnx.Rngs(0)))


def nnx_training_step(params, rest, image):
    def loss(params):
        model = BLOCK.merge(params, rest)
        value = jnp.mean(model(image) ** 2)
        return value, BLOCK.split(model)[1]

    (value, rest), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return value, gradient, rest


def optax_update(params):
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    with jax.numpy_dtype_promotion("standard"):
        state = optimiser.init(params)
        gradient = jax.grad(lambda p: jnp.sum(jnp.tanh(p["w"]) * p["b"][None]))(params)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state


def random_numbers(key):
    keys = jax.random.split(key, 9)
    return (
        jax.random.normal(keys[0], (3,)),
        jax.random.uniform(keys[1], (3,), jnp.bfloat16),
        jax.random.randint(keys[2], (3,), 0, 9),
        jax.random.categorical(keys[3], x),
        jax.random.permutation(keys[4], 5),
        jax.random.bernoulli(keys[5], 0.3, (4,)),
        jax.random.gamma(keys[6], 2.0, (2,)),
        jax.random.truncated_normal(keys[7], -1.0, 1.0, (2,)),
        jax.random.key_data(jax.random.fold_in(keys[8], 7)),
    )


def scattered(x, n):
    y = x.at[n[0, :2]].add(1.0).at[:, 1].set(0.0).at[1:, 2].multiply(3.0)
    y = y.at[0, 1:3].max(0.5).at[2].min(0.1)
    y = lax.dynamic_update_slice(y, x[:2, :2], (n[0, 1], 0))
    rows = jnp.take(y, n[:, 0], axis=0, mode="clip")
    picked = jnp.take_along_axis(y, n[:, :1] % 4, axis=1)
    summed = jax.ops.segment_sum(rows, jnp.array([0, 0, 1]), 2)
    return y, rows, picked, summed, lax.dynamic_slice(y, (n[0, 1], 0), (1, 2))


def integers(n):
    bits = (n & 5) ^ (n << 2) | (~n >> 1)
    return (
        bits,
        lax.population_count(bits),
        lax.clz(n),
        n % 3 == 1,
        jnp.cumsum(n, axis=1),
        n.astype(jnp.uint8) * np.uint8(90),
        jnp.any(n > 3, axis=0) & ~jnp.all(n > 3, axis=0),
        lax.bitcast_convert_type(n, jnp.float32),
    )


def decompositions(A):
    values, vectors = jnp.linalg.eigh(A)
    return (
        values,
        vectors,
        jnp.linalg.cholesky(A),
        jnp.linalg.qr(A),
        jnp.linalg.svd(A),
        jnp.linalg.slogdet(A),
        jnp.linalg.det(A),
        jnp.linalg.inv(A),
        jnp.linalg.pinv(A),
        jnp.linalg.solve(A, A[0]),
        jnp.linalg.lstsq(A, A[0])[0],
        jnp.linalg.norm(A, 2),
        jnp.linalg.matrix_power(A, 3),
        jax.scipy.linalg.expm(A / 9),
        jax.scipy.linalg.solve_triangular(A, A[0]),
    )


def sorting(x):
    return (
        jnp.sort(x),
        jnp.argsort(x, axis=0),
        lax.top_k(x, 2),
        lax.sort((x, n), num_keys=1),
        jnp.searchsorted(x[0], x[1]),
        jnp.unique(n, size=5),
        jnp.median(x, axis=1),
        jnp.argmax(x, axis=1),
    )


def convolutions(image):
    kernel = jnp.cos(jnp.arange(3 * 3 * 3 * 6.0)).reshape(3, 3, 3, 6)
    layout = ("NHWC", "HWIO", "NHWC")
    run = partial(lax.conv_general_dilated, dimension_numbers=layout, padding="SAME")
    y = run(image, kernel, (1, 1), rhs_dilation=(2, 2))
    grouped = run(image, kernel[:, :, :1], (2, 2), feature_group_count=3)
    back = lax.conv_transpose(y, kernel.swapaxes(2, 3), (2, 2), "SAME")
    return y, grouped, back, nnx.avg_pool(y, (2, 2)), nnx.max_pool(y, (3, 3))


def reductions(x):
    return (
        lax.reduce(x, 1.0, lambda a, b: a * b, (0,)),
        lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID"),
        lax.cumlogsumexp(x),
        lax.cummax(x, axis=1, reverse=True),
        lax.associative_scan(jnp.multiply, x, axis=1),
        jnp.prod(x, axis=0),
        jax.nn.logsumexp(x, axis=-1),
        jnp.var(x, axis=0),
    )


def special(x):
    y = jax.nn.sigmoid(x)
    gammas = jax.scipy.special.gammaln(y) + jax.scipy.special.digamma(y)
    return (
        gammas,
        lax.erf_inv(y),
        jax.scipy.special.betainc(y, y, y),
        jax.scipy.special.i0(x),
        jnp.sinc(x),
        jnp.nextafter(x, x + 1),
    )


def solved_by_iteration(b):
    solution, _ = jax.scipy.sparse.linalg.cg(lambda v: A @ v, b, maxiter=5)
    return solution


def called_back(x):
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(lambda x: np.sin(x), shape, x, vmap_method="sequential")


def printed(x):
    jax.debug.callback(lambda x: None, x)
    return 2 * x


def low_precision(x):
    y = x.astype(jnp.bfloat16) @ W.astype(jnp.bfloat16)
    small = x.astype(jnp.float8_e4m3fn).astype(jnp.float16)
    return y, small, lax.reduce_precision(x, 5, 10)


def barred(x):
    y, w = lax.optimization_barrier((x, W))
    return lax.stop_gradient(y) @ w


def sharded(x):
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("batch")
    inside = jax.shard_map(
        lambda x: jnp.tanh(x) + lax.pmean(x, "batch"),
        mesh=mesh,
        in_specs=spec,
        out_specs=spec,
    )
    place = jax.sharding.NamedSharding(mesh, spec)
    return inside(lax.with_sharding_constraint(x, place))


def held(x):
    box = jax.new_ref(x)
    box[0] = jnp.tanh(box[1])
    return box[...]


def attention(x):
    q = jnp.stack([x, x + 1], axis=1)[None]
    return jax.nn.dot_product_attention(q, q, q, is_causal=True)


loss = lambda x: jnp.sum(jax.nn.softmax(x @ W) * jnp.tanh(x))
policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
ZOO = {
    "arithmetic": (lambda x: (x @ W + 1.0) ** 2 / jnp.maximum(x, 1.0), x),
    "jit in jit": (jax.jit(lambda x: jax.jit(jnp.tanh)(x @ W)), x),
    "donated": (jax.jit(lambda x: 2 * x, keep_unused=True), x),
    "static argument": (jax.jit(lambda x, f: f(x), static_argnums=1), x, jnp.tanh),
    "named scope": (jax.named_scope("layer")(lambda x: jnp.tanh(x)), x),
    "nothing": (lambda x: (), x),
    "argument returned": (lambda x: (x, x, 1, W), x),
    "custom_jvp": (lambda x: applied(jnp.sin, x), x),
    "custom_jvp, gradient": (jax.grad(lambda x: applied(jnp.sin, x).sum()), x),
    "custom_vjp": (lambda x: scaled(x, 2.0), x),
    "custom_vjp, gradient": (jax.grad(lambda x: scaled(x, 2.0).sum()), x),
    "custom_vjp, batched": (jax.vmap(lambda r: scaled(r, 2.0)), x),
    "custom_gradient": (jax.value_and_grad(lambda x: straight_through(x).sum()), x),
    "custom_vmap": (lambda x: batched_by_hand(x) + jax.vmap(batched_by_hand)(x), x),
    "remat": (jax.checkpoint(loss), x),
    "remat, gradient": (jax.grad(jax.checkpoint(loss)), x),
    "remat with a policy": (jax.grad(jax.checkpoint(loss, policy=policy)), x),
    "remat in remat": (jax.grad(jax.checkpoint(jax.checkpoint(loss))), x),
    "remat in scan": (
        jax.grad(lambda x: jax.checkpoint(cumulative)(x)[1].sum()),
        x,
    ),
    "scan": (cumulative, x),
    "scan in reverse": (partial(cumulative, reverse=True), x),
    "scan unrolled": (partial(cumulative, unroll=2), x),
    "scan, gradient": (jax.grad(lambda x: cumulative(x)[1].sum()), x),
    "scan, batched": (jax.vmap(cumulative), jnp.stack([x, x + 1])),
    "scan in scan": (nested, x),
    "scan in scan, gradient": (jax.grad(lambda x: nested(x)[1].sum()), x),
    "scan without inputs": (counting, x),
    "scan of nothing": (empty, x),
    "scan of nothing, gradient": (jax.grad(lambda x: empty(x)[0].sum()), x),
    "map": (lambda x: lax.map(jnp.tanh, x, batch_size=2), x),
    "while": (collatz, jnp.int32(27)),
    "while with constants": (while_with_constants, x),
    "while, batched": (jax.vmap(collatz), n[0] + 1),
    "while, forward derivative": (
        lambda x: jax.jvp(while_with_constants, (x,), (W[:3],)),
        x,
    ),
    "loop in loop": (loop_in_loop, x),
    "cond and switch": (switching, jnp.int32(1), x),
    "switch out of range": (switching, jnp.int32(7), x),
    "switch, batched": (jax.vmap(switching), n[:, 0] % 3, jnp.stack([x] * 3)),
    "switch, gradient": (
        jax.grad(lambda x: switching(jnp.int32(2), x).sum()),
        x,
    ),
    "cond in scan": (branching_in_scan, x),
    "cond in scan, gradient": (
        jax.grad(lambda x: branching_in_scan(x)[0].sum()),
        x,
    ),
    "platform": (lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos), x),
    "Hessian": (jax.hessian(loss), x),
    "Jacobian, both ways": (lambda r: (jax.jacfwd(jnp.sin)(r), jax.jacrev(jnp.sin)(r)), x[0]),
    "linearised": (lambda x: jax.linearize(loss, x)[1](x), x),
    "vmap of vmap": (jax.vmap(jax.vmap(lambda a, w: a * w.sum(), (0, None)), (0, 0)), x, W[:3]),
    "Equinox MLP": (equinox_mlp, x),
    "Equinox MLP, gradient": (jax.grad(lambda x: equinox_mlp(x).sum()), x),
    "Equinox GRU": (equinox_recurrent, x),
    "Equinox batch normalisation": (equinox_stateful, x),
    "Equinox attention": (equinox_attention, x),
    "NNX training step": (nnx_training_step, BLOCK.params, BLOCK.rest, image),
    "Optax": (optax_update, {"w": x, "b": W[0]}),
    "random numbers": (random_numbers, KEY),
    "keys": (lambda k: jax.vmap(lambda k: jax.random.normal(k, (2,)))(k), jax.random.split(KEY, 3)),
    "gather and scatter": (scattered, x, n),
    "gather and scatter, gradient": (jax.grad(lambda x: sum(map(jnp.sum, scattered(x, n)))), x),
    "integers and booleans": (integers, n),
    "complex": (lambda z: (jnp.conj(z) @ z.T, jnp.fft.rfft(z.real), jnp.fft.ifft2(z), jnp.angle(z)), z),
    "complex, gradient": (jax.grad(lambda z: jnp.abs(jnp.exp(z)).sum()), z),
    "linear algebra": (decompositions, A),
    "linear algebra, gradient": (jax.grad(lambda A: jnp.linalg.eigh(A @ A.T)[0].sum() + jnp.linalg.slogdet(A)[1]), A),
    "conjugate gradients": (solved_by_iteration, W[0]),
    "conjugate gradients, gradient": (jax.grad(lambda b: solved_by_iteration(b).sum()), W[0]),
    "sorting": (sorting, x),
    "sorting, gradient": (jax.grad(lambda x: (jnp.sort(x) * x).sum()), x),
    "convolutions": (convolutions, image),
    "convolutions, gradient": (jax.grad(lambda i: sum(map(jnp.sum, convolutions(i)))), image),
    "reductions": (reductions, x),
    "special functions": (special, x),
    "callback": (called_back, x),
    "debug callback": (printed, x),
    "low precision": (low_precision, x),
    "barrier": (barred, x),
    "shard_map": (sharded, x),
    "reference": (held, x),
    "attention": (attention, x),
    "einsum": (lambda x: jnp.einsum("ni,ij,mj->nm", x, W, x), x),
}  # fmt: skip


def bits(tree):
    """Leaves as they can be compared: random keys by their data, all to the bit."""

    def plain(leaf):
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(
            leaf.dtype, jax.dtypes.prng_key
        ):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf)

    return [plain(leaf) for leaf in jax.tree.leaves(tree) if not callable(leaf)]


def assert_same(a, b):
    a, b = bits(a), bits(b)
    assert [(l.shape, l.dtype) for l in a] == [(l.shape, l.dtype) for l in b]
    assert all(l.tobytes() == r.tobytes() for l, r in zip(a, b, strict=True))


def arrays_only(name):
    """The function of a zoo entry on its arrays, and these."""
    f, *args = ZOO[name]
    dynamic, static = eqx.partition(args, eqx.is_array)

    def run(dynamic):  # the animals live as in the wild: promotion is JAX's default
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return f(*eqx.combine(dynamic, static))

    return run, dynamic


@functools.cache
def expected(name):
    f, args = arrays_only(name)
    return jax.jit(f)(args)


def identity(f, unseen=None):
    def evaluated(*args):
        program = jaxpr.trace(f, *args)
        outs = jaxpr.evaluate(
            program.closed,
            program.values,
            lift=lambda constant: constant,
            rules={},
            default=lambda equation, *values: equation.bind(*values),
            unseen=unseen,
        )
        return program.result(outs)

    return evaluated


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_the_identity_interpretation_is_the_program_to_the_bit(name):
    f, args = arrays_only(name)
    unseen = Counter()
    assert_same(jax.jit(identity(f, unseen))(args), expected(name))
    primitives = {e.primitive for e in jaxpr.not_analysed(unseen)}
    assert not primitives & set(jaxpr.CALLS)  # calls are entered, all else is counted


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_capture_does_not_change_it(name):
    f, args = arrays_only(name)
    what = ("nonlinearity.input", "matmul", "normalization")
    result, _ = jax.jit(capture(f, what))(args)
    result, whole = bits(result), bits(expected(name))
    size = max(
        (np.abs(b).max(initial=0) for b in whole if b.dtype.kind == "f"), default=0
    )
    for a, b in zip(result, whole, strict=True):
        # XLA fuses otherwise where it must also hand out what is inside: a few
        # roundings of the largest number, as of gradients that cancel
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * size)


@pytest.mark.parametrize("name", ZOO)
def test_it_has_a_graph_in_which_every_value_has_one_maker(name):
    f, args = arrays_only(name)
    closed = jaxpr.trace(f, args).closed
    found = graph(closed)
    made = [value.id for node in found.nodes for value in node.outputs]
    assert len(made) == len(set(made)) and set(made) == set(found.maker)
    assert len(found.outputs) == len(closed.jaxpr.outvars)
    assert not {node.primitive for node in found.nodes} & set(jaxpr.CALLS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_a_sound_program_is_blamed_for_nothing(name):
    f, args = arrays_only(name)
    outs = bits(expected(name))
    finite = all(np.isfinite(out.astype(np.complex64)).all() for out in outs)
    assert (locate_nonfinite(f, args) is None) == finite
