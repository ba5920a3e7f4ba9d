"""`steepest audit`: specs in a shell, what is answered, what is refused."""

import json
from textwrap import dedent

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.cli.specs import read, read_all
from steepest.core.errors import InputError
from steepest.numerics.intervals import Interval


LOSSES = """
    import jax, jax.numpy as jnp

    def naive(z):
        return jnp.log(jnp.sum(jnp.exp(z)))

    def stable(z):
        return jax.nn.logsumexp(z)

    def layer(params, x):
        return jnp.tanh(x @ params["w"] + params["b"])

    def strict(x):
        raise ValueError("not today")

    number = 3
"""


@pytest.fixture
def losses(tmp_path):
    path = tmp_path / "losses.py"
    path.write_text(dedent(LOSSES), "utf-8")
    return path


class TestSpecs:
    def test_a_range(self):
        assert read("float32[32,10] in [-30, 30]") == Interval(-30, 30, (32, 10))

    def test_a_scalar_in_half_precision(self):
        assert read("float16 in [0,1]") == Interval(0, 1, (), jnp.float16)

    def test_any_finite_number(self):
        assert read("bfloat16[3]") == jax.ShapeDtypeStruct((3,), jnp.bfloat16)

    def test_integers(self):
        spec = read("int32[5] in [0, 9]")
        assert spec.dtype == jnp.int32 and spec.shape == (5,)

    def test_an_array_from_a_file(self, tmp_path):
        np.save(tmp_path / "w.npy", np.arange(3, dtype=np.float32))
        np.testing.assert_array_equal(read(f"{tmp_path / 'w.npy'}"), [0, 1, 2])

    def test_a_random_key(self):
        assert jax.dtypes.issubdtype(read("key(3)").dtype, jax.dtypes.prng_key)

    def test_names_decide_over_the_order(self):
        first, second = read_all(["y=float32", "float32[2]"], ["x", "y"])
        assert first.shape == (2,) and second.shape == ()

    def test_dotted_names_are_entries_of_a_dict(self):
        texts = ["p.w=float32[3,2]", "p.b=float32[2]", "x=float32[3]"]
        params, _ = read_all(texts, ["p", "x"])
        assert params["w"].shape == (3, 2) and params["b"].shape == (2,)

    @pytest.mark.parametrize(
        "text, said",
        [
            ("float32[a]", "whole numbers"),
            ("float33[3]", "no number format"),
            ("float32[3] in [0, x]", "two numbers"),
            ("float32[3] in [2, 1]", "2"),
            ("3 to 4", "cannot be read"),
            ("nowhere.npy", "Cannot read"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, text, said):
        with pytest.raises(InputError, match=said):
            read(text)

    def test_nothing_pickled_is_opened(self, tmp_path):
        np.save(tmp_path / "w.npy", np.array([{}], object), allow_pickle=True)
        with pytest.raises(InputError, match=r"np\.save"):
            read(f"{tmp_path / 'w.npy'}")

    @pytest.mark.parametrize(
        "texts, said",
        [
            (["float32"], "no spec for y"),
            (["float32", "float32", "float32"], "one too many"),
            (["x=float32", "x=float32", "y=float32"], "two specs"),
            (["z=float32"], "no argument `z`"),
            (["x=float32", "x.w=float32", "y=float32"], "spec already"),
        ],
    )
    def test_specs_must_fit_the_function(self, texts, said):
        with pytest.raises(InputError, match=said):
            read_all(texts, ["x", "y"])


class TestVerb:
    def test_a_naive_loss_is_found_with_status_1(self, steepest, losses):
        result = steepest(
            "audit", f"{losses}:naive", "--spec", "float32[4] in [-300, 300]"
        )
        assert result.status == 1, result
        assert "exp" in result.out and "losses.py:5" in result.out

    @pytest.mark.slow
    def test_the_stable_loss_is_clean_with_status_0(self, steepest, losses):
        spec = "float32[4] in [50, 60]"
        result = steepest("audit", f"{losses}:stable", "--spec", spec)
        assert result.status == 0, result

    def test_json_on_standard_output(self, steepest, losses):
        spec = "z=float32[2] in [-300, 300]"
        options = ("--spec", spec, "--no-gradient", "--json", "-")
        result = steepest("audit", f"{losses}:naive", *options)
        document = json.loads(result.out)
        assert any(f["confirmed"] for f in document["findings"])
        assert all(f["where"] == "value" for f in document["findings"])

    def test_json_and_a_page_in_files(self, steepest, losses, tmp_path):
        spec = "float32[2] in [-300, 300]"
        json_file, page = tmp_path / "a.json", tmp_path / "a.html"
        options = ("--spec", spec, "--json", json_file, "--html", page)
        steepest("audit", f"{losses}:naive", "--no-gradient", *options)
        assert json.loads(json_file.read_text("utf-8"))["findings"]
        assert "<h1>Audit of" in page.read_text("utf-8")

    def test_what_stabilize_would_rewrite(self, steepest, losses):
        spec = "float32[2] in [-300, 300]"
        options = ("--spec", spec, "--no-gradient", "--stabilize")
        assert "logsumexp" in steepest("audit", f"{losses}:naive", *options).out

    @pytest.mark.slow
    def test_a_program_is_audited_in_the_ranges_of_its_data(self, steepest, program):
        path = program(
            """
            def bad(model, batch):
                x, y = batch
                p = jax.nn.softmax(apply(model, x))
                return -jnp.log(p)[jnp.arange(len(y)), y].mean()

            problem = make(loss=bad, model={"W": 5 * model["W"]}, data=(20 * x, y))
            """
        )
        result = steepest("audit", f"{path}:problem")
        assert result.status == 1 and "log" in result.out


class TestRefused:
    def test_a_function_without_specs(self, refused, losses):
        said = refused("audit", f"{losses}:layer")
        assert "params, x" in said and "--spec" in said

    def test_specs_for_a_program(self, refused, program):
        said = refused("audit", f"{program()}:problem", "--spec", "float32")
        assert "is a program" in said

    def test_what_is_no_function(self, refused, losses):
        assert "number" in refused("audit", f"{losses}:number", "--spec", "float32")

    def test_a_function_that_is_not_there(self, refused, losses):
        assert "naive" in refused("audit", f"{losses}:naiv", "--spec", "float32")

    def test_a_function_that_fails(self, refused, losses):
        assert "not today" in refused("audit", f"{losses}:strict", "--spec", "float32")

    def test_a_shape_that_does_not_fit(self, refused, losses):
        specs = ("params.w=float32[3,2]", "params.b=float32[2]", "x=float32[4]")
        options = [part for spec in specs for part in ("--spec", spec)]
        assert "float32[4]" in refused("audit", f"{losses}:layer", *options)

    @pytest.mark.parametrize(
        "option, value", [("--html", "a.txt"), ("--json", "a.txt"), ("--budget", "0")]
    )
    def test_options_that_cannot_be_used(self, refused, losses, option, value):
        refused("audit", f"{losses}:naive", "--spec", "float32[2]", option, value)
