"""Numerical soundness: which operation fails, at which input, and its stable form.

audit(fun, *specs)             what will overflow, vanish or lose its digits; proved
shadow(fun)(*args)             the error of every operation of one run
stabilize(fun)                 the function rewritten to stable forms
stable.logsumexp, ...          the stable forms themselves
formats.table()                where each floating format ends
locate_nonfinite(fun, *args)   the first operation that makes a NaN or an infinity
nonfinite_operations(fun, *args)    all of them, and how far what they make gets
compare_programs(old, new, *args)   where two versions of a program part
hunting.raise_step_size, ...   does the loss explode, as it should, or stick?
exact.evaluate(fun, *args)     what a small program gives in real numbers
"""

from . import exact as exact, formats as formats, hunting as hunting, stable as stable
from ._audit import audit as audit
from ._compare import Comparison as Comparison, compare_programs as compare_programs
from ._locate import (
    Origin as Origin,
    locate_in_loss as locate_in_loss,
    locate_nonfinite as locate_nonfinite,
    nonfinite_operations as nonfinite_operations,
)
from ._shadow import Shadow as Shadow, shadow as shadow
from ._stabilize import Rewrite as Rewrite, Rewrites as Rewrites, stabilize as stabilize
from .auditing.finding import Audit as Audit, Fault as Fault
from .intervals import Interval as Interval
