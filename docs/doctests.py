"""A Griffe extension: examples in docstrings are shown as code, not as quotations."""

import re
from typing import Any

import griffe


EXAMPLE = re.compile(r"^>>> (?:.+\n?)+", re.M)


class Doctests(griffe.Extension):
    """Fence every paragraph that begins with `>>>`."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(
                lambda m: f"```pycon\n{m[0].rstrip()}\n```\n", obj.docstring.value
            )
