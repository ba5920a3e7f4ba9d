"""The one error for input that cannot be used as it is.

A program that meets bad input owes its user one sentence: what is wrong, where, and
the cure. Everything else is a bug of ours and should look like one.
"""

from typing import Any


class InputError(ValueError):
    """The user's input cannot be used; the message names the fault and the cure.

    The command line prints the message alone and exits with status 2; in Python it is
    an ordinary `ValueError`.
    """


def type_name(value: Any) -> str:
    """What a value is, for the middle of a message: `a list`, `an int`, `None`."""
    kind = type(value).__name__
    return (
        "None"
        if value is None
        else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
    )


def in_short(error: BaseException) -> str:
    """The type of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f": {lines[0]}" if lines else "")
