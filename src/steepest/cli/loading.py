"""Running the user's file and finding the program in it.

    name                  a problem of `steepest problems`
    FILE.py:OBJECT        a Problem, a (Problem, Recipe) pair, a Case, a Record, or a
                          function without arguments that makes one of these
    FILE.py               the same, where the file has only one
    RECORD.npz            a saved record

Only the file that the user names is executed, as Python would: its directory comes
first in `sys.path`, and `__name__` is not `"__main__"`. What goes wrong inside of it is
told by file and line.
"""

import difflib
import importlib.util
import inspect
import itertools
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ..core.errors import InputError, in_short, type_name


class Target(NamedTuple):
    """What is to be checked: a program, or the record of one."""

    problem: Any = None  # Problem
    recipe: Any = None  # Recipe, or None for the default one
    record: Any = None  # Record, when there is no program
    file: Path | None = None  # the user's file
    note: str = ""  # what was chosen for the user


_counter = itertools.count()


def load(text: str, seed: int | None = None) -> Target:
    """The program or record that the command line names.

    Raises `InputError`, with the nearest names, for what is not there.
    """
    path, name = split(text)
    if path is not None and path.suffix == ".py":
        return from_file(path, name)
    if path is not None:
        from ..training import Record

        return Target(record=Record.load(path), file=path)
    if Path(text).exists():
        raise InputError(
            f"`{text}` is neither a Python file (.py) nor a saved record (.npz)."
        )
    from .. import problems

    case = problems.make(text, seed=seed or 0)
    return Target(case.problem, case.recipe)


def split(text: str) -> tuple[Path | None, str]:
    """`"a.py:b"` as a path and a name; no path for what names no file."""
    if text.endswith((".py", ".npz")):
        return Path(text), ""
    file, colon, name = text.rpartition(":")
    if colon and file.endswith(".py"):
        return Path(file), name
    return None, text


def from_file(path: Path, name: str) -> Target:
    """The program that the object `name` of a file is, or makes."""
    module = run_file(path)
    if name:
        found = find(module, name, path)
    else:
        name, found = only(module, path)
    shown = f"{path.name}:{name}"
    made = found
    if inspect.isroutine(found) or inspect.isclass(found):
        made = call(found, shown, path)
    target = as_target(made)
    if target is None:
        verb = "makes" if made is not found else "is"
        raise InputError(
            f"`{shown}` {verb} {type_name(made)}. Name a steepest.Problem, a pair "
            "(Problem, Recipe), or a function without arguments that makes one."
        )
    target = target._replace(file=path)
    if target.record is not None:
        return target
    if target.recipe is None:
        target = with_recipe(target, vars(module), path)
    if target.problem.name == "program":
        return target._replace(problem=replace(target.problem, name=shown))
    return target


def as_target(value: Any) -> Target | None:
    """A value as a target, or None if it is not one."""
    from ..training import Problem, Recipe, Record

    if isinstance(value, Problem):
        return Target(value)
    if isinstance(value, Record):
        return Target(record=value)
    if isinstance(value, tuple) and len(value) >= 2:  # a pair, or a Case
        problem, recipe = value[:2]
        pair = isinstance(problem, Problem) and isinstance(recipe, Recipe)
        if pair and (len(value) == 2 or hasattr(value, "fault")):
            return Target(problem, recipe)
    return None


def with_recipe(target: Target, names: Mapping[str, Any], path: Path) -> Target:
    """A lone Problem takes the recipe that stands beside it in the file."""
    from ..training import Recipe

    recipes = {k: v for k, v in names.items() if isinstance(v, Recipe)}
    if not recipes:
        return target
    if len({id(v) for v in recipes.values()}) > 1 and "recipe" not in recipes:
        raise InputError(
            f"`{path.name}` has the recipes {', '.join(sorted(recipes))}. Name one of "
            "them `recipe`, or name a pair (Problem, Recipe)."
        )
    name = "recipe" if "recipe" in recipes else next(iter(recipes))
    note = f"the recipe is `{name}` of {path.name}"
    return target._replace(recipe=recipes[name], note=note)


# -- The file ----------------------------------------------------------------------------


def run_file(path: Path) -> ModuleType:
    """Execute a Python file as a module with a name of its own."""
    if not path.exists():
        folder = path.parent
        others = [p.name for p in folder.glob("*.py")] if folder.is_dir() else []
        near = difflib.get_close_matches(path.name, others, 1)
        hint = f" Did you mean `{folder / near[0]}`?" if near else ""
        raise InputError(f"There is no file `{path}`.{hint}")
    if path.is_dir():
        raise InputError(f"`{path}` is a directory, not a Python file.")
    path = path.resolve()
    name = f"steepest_target_{next(_counter)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"`{path}` cannot be read as a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look there
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"`{path.name}` fails: {error}.") from error
    except (Exception, SystemExit) as error:
        raise InputError(failure(error, path)) from error
    return module


def failure(error: BaseException, path: Path) -> str:
    """One sentence on what went wrong in the user's file, and at which line."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{Path(error.filename).name}:{error.lineno}"
        return f"{place}: {type(error).__name__}: {error.msg}."
    place = line_of(error, path) or path.name
    return f"{place}: {in_short(error).rstrip('.')}."


def line_of(error: BaseException, path: Path) -> str | None:
    """`"train.py:31"`: the innermost line of the file on the way to an error."""
    wanted = path.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == wanted]
    return f"{path.name}:{lines[-1]}" if lines else None


# -- The object ---------------------------------------------------------------------------


def find(module: ModuleType, name: str, path: Path) -> Any:
    """The object of that (dotted) name."""
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [
                k
                for k, v in vars(module).items()
                if not (k.startswith("_") or isinstance(v, ModuleType))
            ]
            near = difflib.get_close_matches(name, known, 3, cutoff=0.5)
            near = near or list(programs(module))
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"`{path.name}` has no `{name}`.{hint}")
        found = getattr(found, part)
    return found


def programs(module: ModuleType) -> dict[str, Any]:
    """The programs and records of a file by name; each once, a pair for its problem."""
    found: dict[str, Any] = {}
    inside: set[int] = set()
    for name, value in vars(module).items():
        target = None if name.startswith("_") else as_target(value)
        if target is None or any(value is v for v in found.values()):
            continue
        found[name] = value
        if isinstance(value, tuple):
            inside.add(id(target.problem))
    return {k: v for k, v in found.items() if id(v) not in inside}


def makers(module: ModuleType) -> list[str]:
    """The functions of a file that can be called without arguments."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and not _required(value)
    ]


def only(module: ModuleType, path: Path) -> tuple[str, Any]:
    """The one program of a file, with its name."""
    found = programs(module)
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        choices = " or ".join(f"`{path}:{name}`" for name in found)
        raise InputError(f"`{path.name}` has {len(found)} programs: say {choices}.")
    functions = makers(module)
    if functions:
        choices = " or ".join(f"`{path}:{name}`" for name in functions)
        raise InputError(
            f"`{path.name}` has no steepest.Problem at its top level; if a function "
            f"makes it, say {choices}."
        )
    raise InputError(
        f"`{path.name}` has no steepest.Problem at its top level; `steepest init "
        "FILE.py` writes a file that has."
    )


def call(function: Any, shown: str, path: Path) -> Any:
    """What a function without arguments makes."""
    if required := _required(function):
        raise InputError(
            f"`{shown}` needs the argument{'s' * (len(required) > 1)} "
            f"{', '.join(required)}; name a function that needs none."
        )
    try:
        return function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(failure(error, path)) from error


def _required(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name for p in parameters if p.default is p.empty and p.kind not in variable
    ]
