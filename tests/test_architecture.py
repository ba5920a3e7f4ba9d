"""The house stands: imports point down, JAX's internals stay in one file, and so on."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import steepest


ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "steepest"
FILES = sorted(PACKAGE.rglob("*.py"))


def rooms() -> list[str]:
    """Every package of the house, `steepest` first."""
    inner = pkgutil.walk_packages([str(PACKAGE)], "steepest.")
    return ["steepest", *(module.name for module in inner if module.ispkg)]


def exported(package: ModuleType) -> Iterator[str]:
    """The names that a package gives to its users: what its `__init__` imports."""
    tree = ast.parse(Path(str(package.__file__)).read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            yield from (a.asname or a.name for a in node.names)
    if package is steepest:
        yield from steepest.__all__


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports from outside of the package."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_down():
    linter = "from importlinter.cli import lint_imports as f; raise SystemExit(f())"
    run = subprocess.run(
        [sys.executable, "-c", linter], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_internals_of_jax_are_used_in_one_file_and_those_of_equinox_nowhere():
    users = {
        str(path.relative_to(PACKAGE)): name
        for path in FILES
        for name in imported(path)
        if name.startswith(("jax._src", "jaxlib.", "equinox.internal"))
    }
    assert set(users) <= {"core/jaxpr.py"}, users


@pytest.mark.parametrize("room", rooms())
def test_no_public_function_shares_its_name_with_a_module(room):
    """Otherwise `steepest.room.name` would be one or the other, by what ran first."""
    package = importlib.import_module(room)
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(exported(package))


@pytest.mark.parametrize("room", rooms())
def test_what_is_public_is_documented(room):
    package = importlib.import_module(room)
    for name in exported(package):
        thing = getattr(package, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            text = thing.__doc__ or ""
            generated = text.startswith(f"{name}(")  # by dataclass, by NamedTuple
            assert text and not generated, f"{room}.{name} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_it_is(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree) or not tree.body


def test_importing_the_package_costs_nothing():
    heavy = "'jax', 'numpy', 'equinox', 'optax', 'sklearn', 'matplotlib', 'rich'"
    code = f"import sys, steepest; print([m for m in ({heavy}) if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr
