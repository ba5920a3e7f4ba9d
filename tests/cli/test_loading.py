"""Which program the command line means."""

import sys

import pytest

from steepest import InputError, Problem, Record
from steepest.cli.loading import load


def test_a_name_is_a_problem_with_its_recipe():
    target = load("iris/mlp")
    assert target.problem.name == "iris/mlp" and target.recipe.batch_size == 16


def test_the_seed_makes_another_instance_of_a_named_problem():
    a, b = (load("iris/mlp", seed=s).problem.model.weights[0] for s in (0, 1))
    assert (a != b).any()


@pytest.mark.parametrize(
    "more",
    [
        "problem = make()",
        "problem = (make(), steepest.Recipe(epochs=3))",
        "from steepest.problems import Case\n"
        "problem = Case(make(), steepest.Recipe(epochs=3), '', '')",
        "def problem():\n    return make()",
        "problem = lambda: (make(), steepest.Recipe(epochs=3))",
        "class A: problem = make()\nproblem = A.problem",
    ],
)
def test_an_object_of_a_file_may_be_any_form_of_a_program(program, more):
    path = program(more)
    target = load(f"{path}:problem")
    assert isinstance(target.problem, Problem)
    assert target.problem.name == "train.py:problem"
    assert target.recipe is None or target.recipe.epochs == 3


def test_a_dotted_name_is_followed(program):
    path = program("class A:\n    problem = make()")
    assert load(f"{path}:A.problem").problem.name == "train.py:A.problem"


def test_a_given_name_is_kept(program):
    path = program("problem = make(name='mine')")
    assert load(f"{path}:problem").problem.name == "mine"


def test_a_file_with_one_program_needs_no_object(program):
    assert load(str(program("only = make(); again = only"))).problem is not None


def test_a_pair_stands_for_its_problem_too(program):
    path = program("problem = make(); both = (problem, steepest.Recipe(epochs=3))")
    assert load(str(path)).recipe.epochs == 3


def test_a_lone_problem_takes_the_recipe_beside_it(program):
    path = program("problem = make(); recipe = steepest.Recipe(epochs=3)")
    target = load(f"{path}:problem")
    assert target.recipe.epochs == 3 and "`recipe` of train.py" in target.note


def test_of_several_recipes_none_is_guessed(program):
    path = program("problem = make(); a = steepest.Recipe(); b = steepest.Recipe()")
    with pytest.raises(InputError, match="Name one of them `recipe`"):
        load(f"{path}:problem")


def test_siblings_of_the_file_can_be_imported(program, tmp_path):
    (tmp_path / "sibling_of_train.py").write_text("epochs = 7\n")
    path = program("import sibling_of_train as s; recipe = s.epochs; problem = make()")
    assert load(f"{path}:problem").recipe is None
    sys.path.remove(str(tmp_path))


def test_two_files_of_one_name_are_two_modules(program, tmp_path):
    first = load(f"{program('problem = make()')}:problem")
    second = load(
        f"{program('problem = make(name=`2`)'.replace('`', chr(39)))}:problem"
    )
    assert first.problem.name != second.problem.name
    module = sys.modules[first.problem.loss.__module__]
    assert module.__name__ != second.problem.loss.__module__


def test_dataclasses_and_postponed_annotations_work(program):
    base = """
        from __future__ import annotations
        import dataclasses, steepest
        @dataclasses.dataclass
        class Settings:
            width: int = 3
        record = steepest.Record()
        record.log(0, loss=1.0)
    """
    assert isinstance(load(f"{program(base=base, more='')}:record").record, Record)


def test_the_main_guard_is_not_run(program):
    assert load(str(program("problem = make()\nif __name__ == '__main__':\n    1 / 0")))


def test_a_saved_record_is_read(tmp_path):
    record = Record()
    record.log(0, loss=1.0)
    record.save(tmp_path / "run.npz")
    assert "loss" in load(str(tmp_path / "run.npz")).record
