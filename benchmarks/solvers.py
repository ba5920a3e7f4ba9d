"""Solvers on the problems of Moré, Garbow & Hillstrom: solved, evaluations, false successes.

Every problem from both its starts, in float64, ours beside SciPy's and, where it is
installed, Optimistix's. Ours run as they are; the others are asked for tight tolerances,
10⁻¹⁰ (least squares 10⁻¹²), since with their own they stop far from what counts as
solved here. All may take 400 steps.

    solved    the sum of squares is within 10⁻⁶ of a known minimum, or within 10⁻¹⁰
              where that is 0
    claimed   the solver reported success
    loose     it did, near a known minimum, within 10⁻² or 10⁻⁶, but no nearer
    false     it did, where there is no minimum: neither a known one, nor does another
              solver, started there and at four points around, fail to go lower

Evaluations count values, gradients and matrices (Hessians or Jacobians) each; Optimistix
counts steps only. Seconds are of all runs together, after each solver's first.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from steepest.optimize import least_squares, minimize
from steepest.problems.functions import mgh


STEPS = 400  # of every solver


class Run(NamedTuple):
    """One solver from one start."""

    x: np.ndarray
    claimed: bool
    values: int  # evaluations of the loss, or of the residuals
    gradients: int
    matrices: int
    steps: int
    seconds: float = 0.0


Solver = Callable[[mgh.Residuals, Any], Run]


def ours(method: str) -> Solver:
    def solve(problem: mgh.Residuals, x: Any) -> Run:
        found: Any = minimize(problem.loss, x, method, max_steps=STEPS)  # type: ignore[arg-type]
        return our_run(found)

    return solve


def our_least_squares(method: str) -> Solver:
    def solve(problem: mgh.Residuals, x: Any) -> Run:
        return our_run(least_squares(problem.residuals, x, method, max_steps=STEPS))  # type: ignore[arg-type]

    return solve


def our_run(found: Any) -> Run:
    calls = found.num_evaluations
    steps = len(found.values) - 1
    x = np.asarray(found.params)
    return Run(x, found.success, calls, calls, found.num_models, steps)


def compiled(problem: mgh.Residuals) -> dict[str, Callable]:
    if problem.name not in COMPILED:
        loss, r = problem.loss, problem.residuals
        parts = {
            "f": loss,
            "g": jax.grad(loss),
            "H": jax.hessian(loss),
            "r": r,
            "J": jax.jacfwd(r),
        }
        COMPILED[problem.name] = {k: jax.jit(v) for k, v in parts.items()}
    return COMPILED[problem.name]


COMPILED: dict[str, dict[str, Callable]] = {}


def scipy_minimize(method: str) -> Solver:
    import scipy.optimize

    def solve(problem: mgh.Residuals, x: Any) -> Run:
        c, n = compiled(problem), dict.fromkeys("fgH", 0)

        def counted(name: str, x: np.ndarray) -> Any:
            n[name] += 1
            return np.asarray(c[name](jnp.asarray(x)))

        second = method in ("trust-exact", "trust-ncg", "Newton-CG")
        found = scipy.optimize.minimize(
            lambda x: float(counted("f", x)),
            np.asarray(x),
            method=method,
            jac=partial(counted, "g"),
            hess=partial(counted, "H") if second else None,
            tol=1e-10,
            options={"maxiter": STEPS},
        )
        return Run(found.x, bool(found.success), n["f"], n["g"], n["H"], int(found.nit))

    return solve


def scipy_least_squares(method: str) -> Solver:
    import scipy.optimize

    def solve(problem: mgh.Residuals, x: Any) -> Run:
        c, n = compiled(problem), dict.fromkeys("rJ", 0)

        def counted(name: str, x: np.ndarray) -> Any:
            n[name] += 1
            return np.asarray(c[name](jnp.asarray(x)))

        found = scipy.optimize.least_squares(
            partial(counted, "r"),
            np.asarray(x),
            partial(counted, "J"),
            method=method,
            x_scale=1.0 if method == "trf" else "jac",
            ftol=1e-12,
            xtol=1e-12,
            gtol=1e-12,
            max_nfev=STEPS,
        )
        return Run(found.x, bool(found.success), n["r"], 0, n["J"], n["J"])

    return solve


def optimistix_solver(name: str) -> Solver:
    import optimistix as optx

    make = {"BFGS": optx.BFGS, "LM": optx.LevenbergMarquardt, "Dogleg": optx.Dogleg}
    solver = make[name](rtol=1e-10, atol=1e-10)
    squares = name != "BFGS"
    cache: dict[str, Callable] = {}

    def solve(problem: mgh.Residuals, x: Any) -> Run:
        if problem.name not in cache:
            fun = problem.residuals if squares else problem.loss
            call = optx.least_squares if squares else optx.minimise

            @jax.jit
            def compiled(x: Any) -> tuple[Any, Any, Any]:
                found = call(
                    lambda y, _: fun(y), solver, x, max_steps=STEPS, throw=False
                )
                good = found.result == optx.RESULTS.successful
                return found.value, good, found.stats["num_steps"]

            cache[problem.name] = compiled
        value, claimed, steps = cache[problem.name](x)
        n = int(steps)
        return Run(np.asarray(value), bool(claimed), n, n, 0, n)

    return solve


def solvers() -> dict[str, Solver]:
    table: dict[str, Solver] = {
        f"ours, {m}": ours(m) for m in ("trust-region", "cubic", "saddle-free")
    }
    for method in ("levenberg-marquardt", "gauss-newton", "dogleg"):
        table[f"ours, {method}"] = our_least_squares(method)
    for method in ("BFGS", "Newton-CG", "trust-exact"):
        table[f"SciPy, {method}"] = scipy_minimize(method)
    for method in ("trf", "lm"):
        table[f"SciPy, least_squares {method}"] = scipy_least_squares(method)
    try:
        for name in ("BFGS", "LM", "Dogleg"):
            table[f"Optimistix, {name}"] = optimistix_solver(name)
    except ImportError:
        print("Optimistix is not installed and left out.")
    return table


# -- What counts -----------------------------------------------------------------------


def solved(
    problem: mgh.Residuals, value: float, share: float = 1e-6, least: float = 1e-10
) -> bool:
    return any(
        abs(value - known) <= max(share * abs(known), least) for known in problem.minima
    )


def is_minimum(problem: mgh.Residuals, x: np.ndarray) -> bool:
    """Whether another solver goes no lower from there or from nearby."""
    import scipy.optimize

    c = compiled(problem)
    value = float(c["f"](jnp.asarray(x)))
    if any(np.isclose(value, trap, rtol=1e-6) for trap in problem.traps):
        return False
    rng = np.random.default_rng(0)
    for spread in (0, 1e-4, 1e-4, 1e-3, 1e-3):
        start = x * (1 + spread * rng.normal(size=x.size))
        found = scipy.optimize.least_squares(
            lambda x: np.asarray(c["r"](jnp.asarray(x))),
            start,
            lambda x: np.asarray(c["J"](jnp.asarray(x))),
            x_scale="jac",
            ftol=1e-15,
            xtol=1e-15,
            gtol=1e-15,
            max_nfev=200,
        )
        if 2 * found.cost < value - max(1e-6 * abs(value), 1e-10):
            return False
    return True


def measure(name: str, solver: Solver, problems: list[mgh.Residuals]) -> list[dict]:
    rows = []
    for problem in problems:
        for place, start in zip(("standard", "far"), problem.starts, strict=True):
            x = jnp.asarray(start, float)
            failed = ""
            try:
                solver(problem, x)  # compiles
                began = time.perf_counter()
                run = solver(problem, x)
                run = run._replace(seconds=time.perf_counter() - began)
            except Exception as error:
                failed = f"{type(error).__name__}: {str(error).splitlines()[0]}"
                run = Run(np.asarray(start), False, 0, 0, 0, 0)
            value = float(compiled(problem)["f"](jnp.asarray(run.x)))
            good = np.isfinite(value) and solved(problem, value)
            loose = run.claimed and not good and solved(problem, value, 1e-2, 1e-6)
            false = run.claimed and not (good or loose or is_minimum(problem, run.x))
            row = run._asdict() | {"x": run.x.tolist(), "value": value}
            row |= {"solver": name, "problem": problem.name, "start": place}
            row |= {"solved": bool(good), "loose": bool(loose), "false": bool(false)}
            rows.append(row | {"error": failed})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--solver", default="", help="only those with this in the name")
    parser.add_argument("--problem", default="", help="likewise")
    parser.add_argument("--json", help="keep every run in this file")
    parser.add_argument(
        "--misses", action="store_true", help="name what was not solved"
    )
    options = parser.parse_args()
    problems = [mgh.get(name) for name in mgh.names() if options.problem in name]
    runs = []
    head = (
        "solver",
        "solved",
        "claimed",
        "loose",
        "false",
        "values",
        "gradients",
        "matrices",
    )
    print(f"{len(problems)} problems from two starts each, float64, {STEPS} steps")
    print(
        "".join(f"{h:>{10 if i else 34}}" for i, h in enumerate(head)) + "    seconds"
    )
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, solver in solvers().items():
            if options.solver not in name:
                continue
            rows = measure(name, solver, problems)
            runs += rows
            total = lambda key, rows=rows: sum(row[key] for row in rows)
            cells = [f"{total('solved')}/{len(rows)}"]
            keys = ("claimed", "loose", "false", "values", "gradients", "matrices")
            cells += [str(total(key)) for key in keys]
            line = "".join(f"{cell:>10}" for cell in cells)
            print(f"{name:>34}{line}{total('seconds'):11.2f}", flush=True)
            if options.misses:
                for row in rows:
                    if not row["solved"] or row["false"]:
                        says = "FALSE" if row["false"] else "loose" * row["loose"]
                        print(
                            f"    {row['problem']:26}{row['start']:9}{row['value']:14.7g}"
                            f" {row['steps']:5} {says} {row['error']}"
                        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump(runs, file, indent=1)


if __name__ == "__main__":
    main()
