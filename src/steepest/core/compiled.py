"""Compiled, yet computed operation by operation, as an eager run would.

XLA does not compute a program as it is written. It folds log(exp x) to x and
(1 − p) + ε to (1 + ε) − p, re-associates constants, contracts a·b + c to one rounding
and skips what it fuses away. So a program may fail eagerly and not under `jit`, or the
other way round. To run it operation by operation one can leave it uncompiled, at a
price of some milliseconds for each operation; here it is compiled as one program with
the passes that rewrite or fuse switched off, and gives the bits of the eager run.
"""

from collections.abc import Callable
from typing import Any

import jax


#: Passes of XLA that replace operations by others or compute several in one kernel.
#: (Not "fusion-wrapper": it wraps single operations, and a scatter needs it.)
REWRITING = ("algsimp", "fusion", "cpu-instruction-fusion", "reshape-mover")


def op_by_op(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Like `jax.jit(fun)`, but with the roundings and overflows of an eager run.

    For the outermost call only: inside of another `jit`, that one's options hold.
    """
    return jax.jit(
        fun, compiler_options={"xla_disable_hlo_passes": ",".join(REWRITING)}
    )
