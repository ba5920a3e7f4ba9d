"""`stabilize` as a transformation: what it keeps, what it composes with, what it says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from steepest.core import jaxpr
from steepest.core.errors import InputError
from steepest.numerics._stabilize import stabilize


X = jnp.asarray([200.0, 0.0])


def naive(x):
    return jnp.log(jax.nn.softmax(x))


def primitives(fun, *args):
    closed = jax.make_jaxpr(fun)(*args)
    return [e.primitive for e in jaxpr.equations(closed)]


# -- What stays ------------------------------------------------------------------------


def test_a_program_without_a_risk_has_the_same_equations():
    def layer(w, x):
        return jnp.tanh(x @ w).sum()

    w, x = jnp.ones((3, 2)), jnp.ones((4, 3))
    assert str(jax.make_jaxpr(stabilize(layer))(w, x)) == str(
        jax.make_jaxpr(layer)(w, x)
    )


def test_all_other_equations_stay_the_same():
    @jax.jit
    def block(w, x):
        return jnp.tanh(x @ w)

    @jax.checkpoint
    def again(w, x):
        return jnp.sin(x @ w)

    def program(w, x):
        h = again(w, block(w, x))
        h, _ = lax.scan(lambda c, _: (jnp.cos(c @ w), None), h, length=3)
        return naive(h[0])

    w, x = jnp.eye(3), jnp.ones((2, 3))
    before, after = primitives(program, w, x), primitives(stabilize(program), w, x)
    start = before.index("reduce_max")  # of the softmax, the last part of the program
    assert after[: start - 3] == before[: start - 3]


def test_a_call_in_which_nothing_changes_stays_one_equation():
    block = jax.jit(lambda x: jnp.tanh(x) + jnp.cos(x))
    new = jax.make_jaxpr(stabilize(lambda x: naive(block(x))))(X)
    assert [e.primitive.name for e in new.jaxpr.eqns].count("jit") >= 1
    assert "tanh" not in [e.primitive.name for e in new.jaxpr.eqns]


def test_what_only_the_old_form_needed_is_gone():
    assert "div" not in primitives(stabilize(lambda x: jnp.log(jax.nn.sigmoid(x))), X)
    old = primitives(stabilize(lambda x: jnp.log(jnp.linalg.det(x))), jnp.eye(4))
    assert old.count("lu") == 1


def test_a_softmax_that_is_used_twice_is_kept():
    def both(x):
        p = jax.nn.softmax(x)
        return p, jnp.log(p)

    p, log_p = stabilize(both)(X)
    np.testing.assert_array_equal(p, jax.nn.softmax(X))
    np.testing.assert_array_equal(log_p, [0.0, -200.0])


def test_a_function_with_a_derivative_of_its_own_is_not_opened():
    @jax.custom_jvp
    def mine(x):
        return jnp.log(jax.nn.softmax(x))

    mine.defjvp(lambda x, t: (mine(*x), 7 * t[0]))
    stable = stabilize(mine)
    assert not stable.rewrites(X)
    assert float(jax.jvp(stable, (X,), (jnp.ones(2),))[1][0]) == 7


def test_effects_are_kept():
    seen = []

    def program(x):
        jax.debug.callback(lambda v: seen.append(float(v)), x[0] * 2)
        return naive(x)

    stabilize(program)(X)
    jax.effects_barrier()
    assert seen == [400.0]


# -- Composition -----------------------------------------------------------------------


def test_value_gradient_and_hessian_are_right_where_the_written_ones_are_not():
    f = stabilize(lambda x: naive(x)[1])
    assert float(f(X)) == -200
    np.testing.assert_array_equal(jax.grad(f)(X), [-1, 1])
    near = jnp.asarray([20.0, 0.0])
    p = float(np.exp(-20) / (1 + np.exp(-20)))
    np.testing.assert_allclose(
        jax.hessian(f)(near), p * np.array([[-1, 1], [1, -1]]), rtol=1e-5
    )
    assert not np.isfinite(jax.grad(lambda x: naive(x)[1])(X)).all()


@pytest.mark.parametrize("around", [jax.jit, lambda f: f], ids=["jit", "eager"])
def test_it_composes_with_vmap_in_either_order(around):
    rows = jnp.asarray([[200.0, 0.0], [0.0, 300.0]])
    expected = [[0, -200], [-300, 0]]
    np.testing.assert_array_equal(around(jax.vmap(stabilize(naive)))(rows), expected)
    np.testing.assert_array_equal(around(stabilize(jax.vmap(naive)))(rows), expected)


def test_it_may_be_applied_inside_of_a_transformation_to_a_closure():
    def loss(scale):
        return stabilize(lambda x: naive(x * scale)[1])(X)

    np.testing.assert_allclose(jax.grad(loss)(1.0), -200.0)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(2.0), -200.0)


def test_applied_twice_it_changes_nothing_more():
    once = stabilize(naive)
    assert not stabilize(once).rewrites(X).applied
    np.testing.assert_array_equal(stabilize(once)(X), once(X))


def test_pytrees_keywords_flags_and_functions_pass_through():
    def program(model, x, *, training, act):
        z = act(x @ model["w"])
        out = naive(z) if training else z
        return {"out": out, "name": "head", "flag": training}

    stable = stabilize(program)
    model = {"w": 100 * jnp.eye(2)}
    out = stable(model, jnp.asarray([2.0, 0.0]), training=True, act=jnp.abs)
    assert out["name"] == "head" and out["flag"] is True
    np.testing.assert_array_equal(out["out"], [0, -200])
    out = stable(model, jnp.asarray([2.0, 0.0]), training=False, act=jnp.abs)
    np.testing.assert_array_equal(out["out"], [200, 0])


@pytest.mark.slow
def test_an_equinox_model_is_a_guest():
    model = eqx.nn.MLP(2, 3, 4, 1, key=jax.random.key(0))
    model = eqx.tree_at(
        lambda m: m.layers[1].bias, model, jnp.asarray([300.0, 0, -300])
    )

    def loss(model, x):
        return -naive(model(x))[2]

    x = jnp.ones(2)
    grads = eqx.filter_grad(stabilize(loss))(model, x)
    leaves = jax.tree.leaves(eqx.filter(grads, eqx.is_array))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert not np.isfinite(eqx.filter_grad(loss)(model, x).layers[1].bias).all()


def test_a_python_float_is_a_number_and_not_a_constant():
    f = stabilize(lambda x: jnp.log(1 + jnp.exp(x)))
    assert float(f(100.0)) == 100
    assert float(f(200.0)) == 200
    assert float(jax.grad(f)(100.0)) == 1


def test_it_is_traced_once_for_each_shape():
    count = []

    def program(x):
        count.append(x.shape)
        return naive(x)

    stable = stabilize(program)
    first = len([stable(X), *count]) - 1
    stable(X + 1)
    assert len(count) == first
    stable(jnp.ones(3))
    assert len(count) == 2 * first


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_the_dtype_of_the_result_is_kept(dtype):
    x = jnp.asarray([60, 0], dtype)
    out = stabilize(naive)(x)
    assert out.dtype == dtype
    np.testing.assert_allclose(np.asarray(out, np.float32), [0, -60], atol=1e-20)


def test_float64_programs_are_rewritten_as_well():
    with jax.enable_x64(True):
        x = jnp.asarray([2000.0, 0.0], jnp.float64)
        np.testing.assert_array_equal(stabilize(naive)(x), [0, -2000])


# -- Loops and branches ----------------------------------------------------------------


def test_the_body_of_a_scan_is_rewritten():
    def program(xs):
        return lax.scan(lambda s, x: (s + naive(x)[1], naive(x)), 0.0, xs, reverse=True)

    xs = jnp.stack([X, -X])
    total, rows = stabilize(program)(xs)
    assert float(total) == -200
    np.testing.assert_array_equal(rows, [[0, -200], [-200, 0]])
    grads = jax.grad(lambda xs: stabilize(program)(xs)[0])(xs)
    np.testing.assert_array_equal(grads, [[-1, 1], [0, 0]])


def test_the_body_of_a_while_loop_is_rewritten():
    def program(x):
        return lax.while_loop(
            lambda s: s[0] < 2, lambda s: (s[0] + 1, naive(s[1])), (0, x)
        )[1]

    assert np.isfinite(stabilize(program)(X)).all()
    assert not np.isfinite(program(X)).all()


@pytest.mark.parametrize("index", [0, 1])
def test_the_branches_of_a_conditional_are_rewritten(index):
    def program(i, x):
        return lax.switch(i, [naive, lambda x: jnp.log(1 + jnp.exp(x))], x)

    expected = [[0, -200], [200, np.log(2)]][index]
    np.testing.assert_allclose(stabilize(program)(index, X), expected, rtol=1e-6)
    np.testing.assert_allclose(stabilize(program)(jnp.int32(index), X), expected)


def test_a_rematerialised_part_is_rewritten_and_stays_rematerialised():
    program = jax.checkpoint(lambda x: naive(jnp.sin(x) * 300)[1])
    stable = stabilize(program)
    x = jnp.asarray([1.5, -1.5])
    assert {"remat2", "checkpoint", "remat"} & set(primitives(stable, x))
    assert np.isfinite(jax.grad(stable)(x)).all()


# -- The list --------------------------------------------------------------------------


def test_a_rewrite_says_where_what_and_why():
    (rewrite,) = stabilize(naive).rewrites(X)
    assert (rewrite.before, rewrite.after) == ("log(softmax(x))", "log_softmax(x)")
    assert rewrite.primitive == "log" and rewrite.applied and "88.7" in rewrite.why
    assert rewrite.place.file == __file__
    assert rewrite.checked.points > 10 and rewrite.checked.difference < 1e-12


def test_the_list_prints_as_a_table_in_text_html_and_json():
    rewrites = stabilize(naive).rewrites(X)
    assert "log_softmax(x)" in str(rewrites)
    assert "<td>log(softmax(x))</td>" in rewrites._repr_html_()
    assert rewrites.as_json()[0]["after"] == "log_softmax(x)"
    empty = stabilize(jnp.tanh).rewrites(X)
    assert str(empty) == "nothing to rewrite" and not empty.as_json()


def test_rewrites_in_a_loop_are_listed_with_their_line():
    def program(xs):
        return lax.map(naive, xs)

    (rewrite,) = stabilize(program).rewrites(jnp.stack([X, X]))
    assert len(rewrite.address) > 2 and rewrite.place.file == __file__


@pytest.mark.parametrize(
    ("fun", "said"),
    [
        (lambda x: jnp.log(jnp.clip(jax.nn.softmax(x), 1e-7, 1.0)), "clipped"),
        (lambda x: jnp.log(jax.nn.softmax(x) + 1e-9), "biased"),
        (lambda x: x / jnp.max(x), "scale can be 0"),
        (lambda x: jnp.arccos(jnp.dot(x, x)), "unit vectors"),
    ],
)
def test_what_would_be_another_function_is_refused_with_a_reason(fun, said):
    (refusal,) = stabilize(fun).rewrites(X).refused
    assert said in refusal.reason and refusal.after
    np.testing.assert_array_equal(stabilize(fun)(X / 100), fun(X / 100))


def test_only_a_function_is_stabilised():
    with pytest.raises(InputError, match="takes a function, not an int"):
        stabilize(3)


# -- Both modes ------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
def test_a_small_number_beside_1_survives_the_compiler_and_python(jit):
    wrap = jax.jit if jit else lambda f: f
    p = jnp.asarray([1.0, 0.5])
    for fun in (lambda p: jnp.log((1 - p) + 1e-10), lambda p: jnp.log(1e-10 + 1 - p)):
        np.testing.assert_allclose(
            wrap(stabilize(fun))(p), [np.log(1e-10), np.log(0.5)], rtol=1e-6
        )


def test_a_masked_branch_keeps_its_value_to_the_bit_and_has_a_gradient():
    def program(x):
        return jnp.where(x > 0, x * jnp.log(x), 0.0).sum()

    x = jnp.asarray([0.0, 0.3, -2.0])
    assert float(stabilize(program)(x)) == float(program(x))
    np.testing.assert_allclose(
        jax.grad(stabilize(program))(x), [0, 1 + np.log(0.3), 0], rtol=1e-6
    )
    assert np.isnan(jax.grad(program)(x)).any()


def attended(mask):
    def fun(scores):
        return jax.nn.softmax(jnp.where(mask(scores), scores, -jnp.inf), axis=-1)

    return fun


@pytest.mark.slow
def test_a_mask_that_leaves_an_entry_in_every_row_is_no_risk():
    scores = jnp.ones((2, 4, 4))
    causal = attended(lambda s: jnp.tril(jnp.ones(s.shape[1:], bool)))
    assert not stabilize(causal).rewrites(scores)
    jax.jit(stabilize(causal))(scores)
    strict = attended(lambda s: jnp.tril(jnp.ones(s.shape[1:], bool), -1))
    assert stabilize(strict).rewrites(scores).applied  # its first row is empty
    assert stabilize(attended(lambda s: s > 0)).rewrites(scores).applied


def test_weights_that_are_all_0_keep_their_slope():
    def dice(p, y):
        p = jax.nn.sigmoid(p)
        return 1 - 2 * jnp.sum(p * y) / (jnp.sum(p) + jnp.sum(y))

    z, y = jnp.zeros(4), jnp.zeros(4)
    np.testing.assert_allclose(jax.grad(stabilize(dice), 1)(z, y), -0.5, rtol=1e-6)
