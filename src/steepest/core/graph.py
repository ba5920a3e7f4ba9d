"""A program as a flat graph: which equation makes a value, and which ones use it.

`graph` enters every call (jit, custom derivatives, remat), so that a pattern such as
log(softmax) is seen whether or not its parts come from library functions; the names of
the calls stay readable in `Node.path`. Loops and branches are single nodes.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import jaxpr


class Value(NamedTuple):
    """A value in the graph: its number, shape and dtype."""

    id: int
    shape: tuple[int, ...]
    dtype: Any
    constant: Any = None  # what it is, where that is known before the program runs

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size


class Node(NamedTuple):
    """An equation with the values that it reads and makes."""

    equation: jaxpr.Equation
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    @property
    def primitive(self) -> str:
        return self.equation.primitive

    @property
    def place(self) -> jaxpr.Place:
        return self.equation.place


@dataclass
class Graph:
    """Nodes in the order of evaluation, with the maps from values to nodes."""

    inputs: tuple[Value, ...] = ()
    outputs: tuple[Value, ...] = ()
    nodes: list[Node] = field(default_factory=list)
    maker: dict[int, Node] = field(default_factory=dict)  # value id -> node
    users: dict[int, list[Node]] = field(default_factory=dict)

    def origin(self, value: Value, through: tuple[str, ...]) -> Value:
        """Follow `value` back through primitives that only move or copy it."""
        while (node := self.maker.get(value.id)) and node.primitive in through:
            value = node.inputs[0]
        return value


#: Primitives that move, copy or convert a value without changing it.
MOVES = (
    "broadcast_in_dim",
    "reshape",
    "squeeze",
    "expand_dims",
    "transpose",
    "convert_element_type",
    "copy",
    "copy_p",
    "reduce_precision",
    "slice",
    "dynamic_slice",
    "gather",
    "rev",
    "optimization_barrier",
    "sharding_constraint",
)


def graph(closed: jaxpr.Closed) -> Graph:
    """Flatten a program to a `Graph`."""
    result, counter = Graph(), iter(range(1 << 60))

    def fresh(aval: Any, constant: Any = None) -> Value:
        shape = tuple(getattr(aval, "shape", ()))
        return Value(next(counter), shape, getattr(aval, "dtype", None), constant)

    def node(equation: jaxpr.Equation, *inputs: Value) -> list[Value]:
        outputs = tuple(fresh(aval) for aval in equation.outputs)
        made = Node(equation, inputs, outputs)
        result.nodes.append(made)
        result.maker.update((value.id, made) for value in outputs)
        for value in inputs:
            result.users.setdefault(value.id, []).append(made)
        return list(outputs)

    result.inputs = tuple(fresh(v.aval) for v in closed.jaxpr.invars)
    result.outputs = tuple(
        jaxpr.evaluate(
            closed,
            result.inputs,
            lift=lambda constant: fresh(constant, constant),
            rules={},
            default=node,
        )
    )
    return result
