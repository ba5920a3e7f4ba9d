"""Bad input costs one clear sentence and status 2, before anything is run."""

import pickle
import zipfile

import numpy as np
import pytest

from steepest import Record


# -- What is named -----------------------------------------------------------------------


def test_no_such_problem(refused):
    assert "digits/mlp" in refused("check", "digit/mlp")


def test_no_such_file(refused, program, tmp_path):
    program(name="train.py")
    said = refused("check", tmp_path / "trian.py")
    assert "There is no file" in said and "train.py" in said


def test_no_such_record(refused, tmp_path):
    assert "There is no file" in refused("check", tmp_path / "run.npz")


@pytest.mark.parametrize("name", ["notes.txt", "a.json"])
def test_a_file_of_another_kind(refused, tmp_path, name):
    (tmp_path / name).write_text("hello")
    assert "neither a Python file" in refused("check", tmp_path / name)


def test_a_directory(refused, tmp_path):
    assert "neither a Python file" in refused("check", tmp_path)
    (tmp_path / "d.py").mkdir()
    assert "is a directory" in refused("check", tmp_path / "d.py")
    (tmp_path / "d.npz").mkdir()
    assert "is a directory" in refused("check", tmp_path / "d.npz")


def test_no_such_object(refused, program):
    said = refused("check", f"{program()}:problm")
    assert "`train.py` has no `problm`" in said and "Did you mean problem" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("thing = 3", "`train.py:thing` is an int"),
        ("thing = model", "`train.py:thing` is a dict"),
        ("thing = lambda: 3", "`train.py:thing` makes an int"),
        ("thing = lambda: None", "makes None"),
        ("thing = steepest.Recipe()", "is a Recipe"),
        ("def thing(width): return make()", "needs the argument width"),
        ("thing = (make(), 3)", "is a tuple"),
    ],
)
def test_an_object_that_is_no_program(refused, program, more, said):
    assert said in refused("check", f"{program(more)}:thing")


def test_a_file_without_a_program(refused, program):
    assert "steepest init" in refused("check", program("", base="x = 3"))
    assert ":thing`" in refused("check", program("", base="def thing(): return 3"))


def test_a_file_with_several_programs(refused, program):
    said = refused("check", program("a = make(); b = make()"))
    assert "2 programs" in said and "train.py:a`" in said and "train.py:b`" in said


# -- What goes wrong in the user's file ----------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ny = z\n", "train.py:2: NameError: name 'z' is not defined"),
        ("x = (\n", "train.py:1: SyntaxError"),
        ("import no_such_module_here\n", "train.py:1: ModuleNotFoundError"),
        ("def f():\n    1 / 0\nf()\n", "train.py:2: ZeroDivisionError"),
        ("import sys\nsys.exit(0)\n", "train.py:2: SystemExit"),
        ("open('no/such/file')\n", "No such file"),
        ("raise ValueError('two\\nlines')\n", "train.py:1: ValueError: two"),
    ],
)
def test_errors_of_the_file_are_told_by_line(refused, program, source, said):
    assert said in refused("check", program("", base=source))


def test_errors_of_its_functions_are_told_by_line(refused, program):
    path = program("", base="def problem():\n    return undefined\n")
    assert "train.py:2: NameError" in refused("check", f"{path}:problem")


def test_a_file_that_is_not_text(refused, tmp_path):
    (tmp_path / "train.py").write_bytes(b"\x00\xff\xfe")
    assert "train.py" in refused("check", tmp_path / "train.py")


# -- Programs that cannot be trained -------------------------------------------------------

PROGRAMS = {
    "vector loss": (
        "problem = make(loss=lambda m, b: b[0] @ m['W'])",
        "array of shape [32, 2], not a scalar. Take its mean",
    ),
    "no return": ("problem = make(loss=lambda m, b: None)", "is there a `return`?"),
    "integer loss": (
        "problem = make(loss=lambda m, b: b[1].sum())",
        "must be a float",
    ),
    "tuple loss": (
        "problem = make(loss=lambda m, b: (loss(m, b), {}))",
        "returns a tuple",
    ),
    "arguments": (
        "problem = make(loss=lambda m: 0.0)",
        "takes 1 positional arguments",
    ),
    "no model": ("problem = make(model={})", "no floating-point arrays"),
    "functions only": ("problem = make(model={'f': apply})", "no floating-point"),
    "integers only": (
        "problem = make(model={'W': jnp.ones((3, 2), int)})",
        "no floating-point",
    ),
    "empty arrays": ("problem = make(data=(x[:0], y[:0]))", "are empty"),
    "empty list": ("problem = make(data=[])", "are empty"),
    "empty lists": ("problem = make(data=([], []))", "are empty"),
    "empty iterable": (
        "problem = make(data=lambda: iter(()))",
        "without a single batch",
    ),
    "no data": ("problem = make(data=None)", "There are no training data"),
    "empty validation": (
        "problem = make(validation=(x[:0], y[:0]))",
        "validation data are empty",
    ),
    "unequal": ("problem = make(data=(x, y[1:]))", "different numbers of examples"),
    "lists": (
        "problem = make(data=(x.tolist(), y.tolist()))",
        "are Python lists; give arrays",
    ),
    "strings": (
        "problem = make(data=(x, np.asarray(['a', 'b'] * 32)))",
        "only numbers can be trained on",
    ),
    "number": ("problem = make(data=3)", "The training data are an int"),
    "labels too high": ("problem = make(data=(x, y + 1))", "run from 1 to 2"),
    "labels negative": ("problem = make(data=(x, y - 1))", "run from -1 to 0"),
    "labels in validation": (
        "problem = make(validation=(x, y + 1))",
        "labels of the validation data run from 1 to 2",
    ),
    "shapes": (
        "problem = make(data=(x[:, :2], y))",
        "cannot be computed on a batch of float32[32, 2], int32[32] at train.py:10",
    ),
    "shapes in validation": (
        "problem = make(validation=(x[:, :2], y))",
        "The loss on the validation data cannot be computed",
    ),
    "predict": (
        "problem = make(predict=lambda m, x: x @ m['V'])",
        "`predict` on the training data cannot be computed",
    ),
    "predict is no function": (
        "problem = make(predict='mlp')",
        "`predict` is a str; it must be a function",
    ),
    "loss without a signature": (
        "problem = make(loss=max)",
        "whose arguments cannot be told",
    ),
    "predict without return": (
        "problem = make(predict=lambda m, x: None)",
        "`predict` returns None",
    ),
    "predict of another shape": (
        "problem = make(predict=lambda m, x: apply(m, x).T)",
        "shape [2, 32] for 32 examples; its first axis must be the example",
    ),
    "evaluate without a loss": (
        "problem = make(evaluate=lambda m, b: {'accuracy': loss(m, b)})",
        "returns accuracy, and no",
    ),
    "evaluate with vectors": (
        "problem = make(evaluate=lambda m, b: b[0][:, 0])",
        "`evaluate` returns `loss` of shape [32]",
    ),
    "task": ("problem = make(task='clasification')", "`task` must be one of"),
    "groups": ("problem = make(groups=5)", "`groups` must be a pair"),
    "groups too few": (
        "problem = make(groups=(y[1:], y))",
        "shape [63] for 64 examples",
    ),
    "masked": ("problem = make(data=(np.ma.masked_array(x), y))", "a masked array"),
    "keys": (
        "problem = make(data=(jax.random.split(jax.random.key(0), 64), y))",
        "only numbers can be trained on",
    ),
    "donated": (
        """
        problem = make()
        model["W"].delete()
        """,
        "given away to an earlier call",
    ),
    "evaluate": (
        "problem = make(evaluate=lambda m, b: m['V'])",
        "`evaluate` on the training data cannot be computed",
    ),
    "NumPy in the loss": (
        "problem = make(loss=lambda m, b: np.mean(np.asarray(m['W'])))",
        "use jax.numpy",
    ),
    "float in the loss": (
        "problem = make(loss=lambda m, b: float(m['W'][0, 0]))",
        "needs the value of an array",
    ),
    "general loss": (
        "problem = make(loss=lambda m, b, k, s: 0.0)",
        "must return `(scalar, Aux(state, metrics))`",
    ),
    "optimiser": (
        "problem = (make(), steepest.Recipe(optimizer='adamm'))",
        "no optimiser 'adamm'",
    ),
    "learning rate": (
        "problem = (make(), steepest.Recipe(learning_rate=-1.0))",
        "`learning_rate` must be a positive number",
    ),
}


@pytest.mark.parametrize("fault", PROGRAMS)
def test_a_program_that_cannot_be_trained(refused, program, fault):
    more, said = PROGRAMS[fault]
    assert said in refused("check", f"{program(more)}:problem")


@pytest.mark.slow
def test_a_batch_source_that_fails_is_told_by_line(refused, program):
    more = """
        def batches():
            yield x, y
            raise RuntimeError("the disk is gone")
        problem = make(data=batches)
    """
    said = refused("check", f"{program(more)}:problem", "--budget", "5")
    assert "train.py:" in said and "the disk is gone" in said


# -- Options -------------------------------------------------------------------------------


@pytest.fixture
def never_checked(monkeypatch):
    def check(*args, **options):
        raise AssertionError("the check was begun")

    monkeypatch.setattr("steepest.checkup.check", check)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fail-on", "grave"], "one of note, medium, high, critical, never"),
        (["--budget", "-1"], "positive number of seconds"),
        (["--budget", "0"], "positive number of seconds"),
        (["--budget", "nan"], "positive number of seconds"),
        (["--budget", "soon"], "valid number"),
        (["--seed", "1.5"], "--seed"),
        (["--set", "learning_rat=1"], "did you mean `learning_rate`?"),
        (["--set", "zzz=1"], "has no field `zzz`"),
        (["--set", "learning_rate"], "NAME=VALUE"),
        (["--set", "learning_rate=fast"], "`learning_rate` must be a number"),
        (["--set", "learning_rate=nan"], "`learning_rate` must be a number"),
        (["--set", "batch_size=2.5"], "`batch_size` must be a whole number"),
        (["--set", "shuffle=maybe"], "true or false"),
        (["--html", "report.txt"], "must end in .html"),
        (["--html", "no/such/directory/report.html"], "Cannot write"),
        (["--html", "/proc/report.html"], "Cannot write"),
        (["--record", "record.html"], "must end in .npz"),
        (["--record", "/proc/record.npz"], "Cannot write"),
        (["--no-such-option"], "No such option"),
        (["extra", "argument"], "nexpected extra argument"),
    ],
)
def test_options(refused, program, never_checked, arguments, said):
    assert said in refused("check", f"{program()}:problem", *arguments)


def test_an_output_under_a_file_or_at_a_directory(
    refused, program, never_checked, tmp_path
):
    path = program()
    assert "Cannot write" in refused("check", path, "--html", path / "report.html")
    (tmp_path / "d.html").mkdir()
    assert "is a directory" in refused("check", path, "--html", tmp_path / "d.html")


def test_nothing_is_left_behind_by_the_test_of_an_output(refused, program, tmp_path):
    path = program("thing = 3")
    refused("check", f"{path}:thing", "--html", tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".html"] == []


# -- Records -------------------------------------------------------------------------------


@pytest.fixture
def record(tmp_path):
    record = Record()
    for step in range(20):
        record.log(step, loss=1 / (1 + step))
    record.save(tmp_path / "run.npz")
    return tmp_path / "run.npz"


def test_a_truncated_record(refused, record):
    whole = record.read_bytes()
    for share in (0.0, 0.3, 0.9, 0.99):
        record.write_bytes(whole[: int(share * len(whole))])
        assert "not a readable record" in refused("check", record)


def test_a_damaged_record(refused, record):
    whole = bytearray(record.read_bytes())
    place = whole.find(b"NUMPY") + 200
    whole[place] ^= 0xFF
    record.write_bytes(bytes(whole))
    assert "not a readable record" in refused("check", record)


def test_an_archive_that_is_no_record(refused, tmp_path):
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    assert "not a readable record" in refused("check", tmp_path / "other.npz")


def test_a_file_of_another_kind_by_its_own_word(refused, record):
    from steepest.core import archive

    archive.write(record, "model", 1, {}, {})
    assert "it says it is a model" in refused("check", record)


def test_a_record_of_a_later_version(refused, record):
    from steepest.core import archive

    archive.write(record, "record", 99, {}, {})
    assert "Upgrade steepest" in refused("check", record)


def test_a_record_with_parts_missing(refused, record):
    from steepest.core import archive

    archive.write(record, "record", 1, {"step/loss": np.arange(3)}, {"facts": {}})
    assert "damaged" in refused("check", record)
    with zipfile.ZipFile(record, "w") as file:
        file.writestr("meta.json", '{"kind": "record"}')
    assert "no schema number" in refused("check", record)
    with zipfile.ZipFile(record, "w") as file:
        file.writestr("meta.json", "[]")
    assert "not a record" in refused("check", record)


def test_a_pickle_is_never_loaded(refused, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    path = tmp_path / "run.npz"
    path.write_bytes(pickle.dumps(Trap()))
    assert "not a readable record" in refused("check", path)
    np.savez(path, allow_pickle=True, **{"a/x": np.asarray([Trap()], object)})
    with zipfile.ZipFile(path, "a") as file:
        header = '{"kind": "record", "schema": 1, "dtypes": {}, "meta": {}}'
        file.writestr("meta.json", header)
    assert "not a readable record" in refused("check", path)


def test_an_empty_record(refused, record):
    Record().save(record)
    assert "The record is empty" in refused("check", record)


@pytest.mark.parametrize(
    "option",
    [["--seed", "1"], ["--set", "epochs=1"], ["--record", "again.npz"]],
)
def test_options_that_a_record_has_no_use_for(refused, record, option):
    assert "does not go with a record" in refused("check", record, *option)


# -- Verbs -----------------------------------------------------------------------------------


def test_no_such_verb(refused):
    assert "No such command 'chek'" in refused("chek")


def test_no_such_rule(refused):
    assert "OPT001" in refused("explain", "OTP001")


def test_init_needs_a_name_a_directory_and_a_free_place(refused, tmp_path):
    assert "must end in .py" in refused("init", tmp_path / "train.txt")
    assert "Cannot write" in refused("init", tmp_path / "no" / "train.py")
    (tmp_path / "mine.py").write_text("mine")
    assert "--force" in refused("init", tmp_path / "mine.py")
    assert (tmp_path / "mine.py").read_text() == "mine"
