"""Strict types at run time, strict promotion of types and ranks, one compilation cache.

jaxtyping and beartype check every annotated function of the package while the suite
runs; JAX neither widens a dtype nor a rank silently. Compiled programs are kept in
`.jax_cache`, which may be deleted at any time.
"""

import os
from pathlib import Path

import pytest


collect_ignore_glob = ["*conftest.py"]  # holds no docstrings to run

CACHE = Path(__file__).parent.parent / ".jax_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import jax
from jaxtyping import install_import_hook


with install_import_hook("steepest", "beartype.beartype"):
    import steepest  # noqa: F401

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def no_leftover_configuration():
    """A test that changes JAX's configuration must not change the next one's."""
    x64 = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", x64)


@pytest.fixture(autouse=True, scope="module")
def no_leftover_programs():
    """Compiled programs of one file do not fill the memory of the next."""
    yield
    pages = Path("/proc/self/statm")
    if not pages.exists() or int(pages.read_text().split()[1]) * 4096 > 2e9:
        jax.clear_caches()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow-tenth",
        type=int,
        choices=range(10),
        help="of the slow tests, in the order of their names, run every tenth from here",
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    tenth = config.getoption("--slow-tenth")
    if tenth is None:
        return
    slow = sorted(i.nodeid for i in items if i.get_closest_marker("slow") is not None)
    skipped = set(slow) - set(slow[tenth::10])
    config.hook.pytest_deselected(items=[i for i in items if i.nodeid in skipped])
    items[:] = [i for i in items if i.nodeid not in skipped]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A tenth without a test is not a failure."""
    if session.config.getoption("--slow-tenth") is not None and exitstatus == 5:
        session.exitstatus = pytest.ExitCode.OK
