"""What `steepest spectrum` and `steepest landscape` share: a program's loss at a point."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .check import blamed, changed
from .loading import Target, load
from .output import say, writable


def drawable(picture: Path | None) -> None:
    """Raise `InputError` unless a picture can be drawn and written there."""
    if picture is None:
        return
    writable(picture, ".svg")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            "`--picture` needs matplotlib: pip install 'steepest[plot]' brings it."
        )


@contextlib.contextmanager
def measuring(as_json: bool, no_progress: bool) -> Iterator[None]:
    """What is printed on the way leaves JSON alone; Ctrl-C is told in one line."""
    from ..core.progress import hidden

    nothing = contextlib.nullcontext
    spare = contextlib.redirect_stdout(sys.stderr) if as_json else nothing()
    try:
        with spare, hidden() if no_progress else nothing():
            yield
    except KeyboardInterrupt:
        say("steepest: stopped by Ctrl-C, without an answer.")
        raise


def stand(
    text: str,
    changes: list[str],
    *,
    steps: int,
    examples: int | None,
    seed: int | None,
    iterates: int = 0,
) -> tuple[Any, Any, Target]:
    """The `Objective` of a target, before training or after some updates, its recipe.

    Raises `InputError` for a record, for options that make no sense, and for what goes
    wrong in the user's file.
    """
    for name, value, least in (("steps", steps, 0), ("examples", examples, 1)):
        if value is not None and value < least:
            raise InputError(f"`--{name}` must be {least} or more, not {value}.")
    target = load(text, seed)
    if target.problem is None:
        raise InputError(
            f"`{text}` is a record, which holds no loss to differentiate; name the "
            "program itself."
        )
    from dataclasses import replace

    from ..training import Recipe
    from ..training._objective import EXAMPLES, objective

    recipe = changed(target.recipe or Recipe(), changes)
    recipe = recipe if seed is None else replace(recipe, seed=seed)
    with blamed(target):
        made = objective(
            target.problem,
            recipe,
            steps=steps,
            examples=EXAMPLES if examples is None else examples,
            iterates=iterates,
        )
    if made.ended == "non-finite":
        say(
            f"steepest: the loss stopped being a number after {made.step} updates; this "
            "is the last point at which it was one."
        )
    elif made.step < steps:
        say(f"steepest: the data ended after {made.step} updates.")
    return made, recipe, target


def place(target: Target, made: Any) -> str:  # of an Objective
    """Where the loss was looked at: "digits/mlp before training, on 1438 examples"."""
    name = target.problem.name
    when = f"after {made.step} updates" if made.step else "before training"
    among = made.total_examples
    some = among is not None and made.examples < among
    of = f"{made.examples} of {among}" if some else f"{made.examples}"
    text = f"{name} {when}, on {of} training examples"
    if made.is_sum:
        text += " (the loss is a sum over its batch, brought to that of one update)"
    return f"{text}; {target.note}" if target.note else text
