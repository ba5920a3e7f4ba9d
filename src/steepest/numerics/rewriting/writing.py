"""A program written out once more, with the stable forms in place of the old ones.

It is run under `make_jaxpr`: an equation that is kept is bound as it was, with its
parameters; a call in which nothing changes is one equation still.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ...core import jaxpr
from .carries import run as run_wide
from .compute import compute, fit
from .expression import Node
from .reading import Reading, leaves


def write(
    closed: jaxpr.Closed,
    r: Reading,
    live: set[int],
    forms: dict[int, Node],
    around: jaxpr.Equation | None,
    body: int,
) -> jaxpr.Closed:
    """The program with `forms` in place of the values that they stand for."""
    touched = _touched(r, live, forms)

    def run(*values: Any) -> list[Any]:
        env: dict[int, Any] = {
            node.id: value for node, value in zip(r.inputs, values, strict=True)
        }

        def known(value: Any, node: Node) -> Any:
            return compute(node, env, forms) if value is None else value

        def keep(address: tuple[int, ...], outs: list[Any]) -> list[Any]:
            for node, out in zip(r.at[address], outs, strict=True):
                env.setdefault(node.id, out)
            return outs

        def dead(equation: jaxpr.Equation) -> bool:
            nodes = r.at[equation.address]
            return not equation.eqn.effects and not any(n.id in live for n in nodes)

        def ordinary(equation: jaxpr.Equation, *args: Any) -> list[Any]:
            nodes = r.at[equation.address]
            if dead(equation):
                return [None] * len(nodes)
            first = nodes[0] if nodes else None
            if first is not None and first.id in forms:
                value = compute(first, env, forms)
                return [fit(value, first)]
            operands = r.operands[equation.address]
            args = tuple(map(known, args, operands))
            if equation.address in r.wider:
                loop = r.wider[equation.address]
                return keep(equation.address, run_wide(equation, loop, args))
            if any(p.closed for p in r.inner.get(equation.address, ())):
                programs = [
                    p.closed or old
                    for p, old in zip(
                        r.inner[equation.address],
                        jaxpr.bodies(equation.control),
                        strict=True,
                    )
                ]
                return keep(equation.address, jaxpr.rebind(equation, programs, *args))
            return keep(equation.address, equation.bind(*args))

        def call(equation: jaxpr.Equation, *args: Any) -> Any:
            control = equation.control
            if control.kind not in ("jit", "call") or equation.address in r.whole:
                return ordinary(equation, *args)
            if dead(equation):
                return [None] * len(r.at[equation.address])
            complete = all(a is not None for a in args)
            if complete and equation.address not in touched:
                return keep(equation.address, equation.bind(*args))
            return inside(control.body, args, equation, 0)

        def inside(
            program: jaxpr.Closed,
            args: Sequence[Any],
            equation: jaxpr.Equation | None,
            body: int,
        ) -> list[Any]:
            rules: dict[Any, Callable] = {jaxpr.Call: call}
            return jaxpr.evaluate(
                program,
                args,
                lift=lambda constant: constant,
                rules=rules,
                default=ordinary,
                around=equation,
                body=body,
            )

        outs = inside(closed, values, around, body)
        return [known(out, node) for out, node in zip(outs, r.outputs, strict=True)]

    avals = [_struct(v.aval) for v in closed.jaxpr.invars]
    return jax.make_jaxpr(run)(*avals)


def _struct(aval: Any) -> Any:
    weak = getattr(aval, "weak_type", False)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=weak)


def _touched(
    r: Reading, live: set[int], forms: dict[int, Node]
) -> set[tuple[int, ...]]:
    """Addresses of calls that cannot stay whole."""
    addresses = [r.home[i].address for i in forms if i in r.home]
    addresses += [
        a for a, programs in r.inner.items() if any(p.closed for p in programs)
    ]
    addresses += list(r.wider)
    touched = {a[:k] for a in addresses for k in range(2, len(a), 2)}
    for old, form in forms.items():
        for node in leaves(r, form, old):
            if node.id not in r.home:
                continue
            a = r.home[node.id].address
            for k in range(2, len(a), 2):
                if all(node is not out for out in r.at.get(a[:k], ())):
                    touched.add(a[:k])
    return touched
