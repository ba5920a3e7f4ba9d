"""The one error for input that cannot be used as it is.

A program that meets bad input owes its user one sentence: what is wrong, where, and
the cure. Everything else is a bug of ours and should look like one.
"""


class InputError(ValueError):
    """The user's input cannot be used; the message names the fault and the cure.

    The command line prints the message alone and exits with status 2; in Python it is
    an ordinary `ValueError`.
    """
