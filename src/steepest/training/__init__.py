"""Training: problems, recipes, the fit loop, and the record of what happened."""

from ._fit import Fit as Fit, fit as fit
from ._objective import Objective as Objective, objective as objective
from .fitted import Fitted as Fitted
from .probes import Probe as Probe, Snapshot as Snapshot
from .problem import Aux as Aux, Problem as Problem
from .recipe import Recipe as Recipe
from .record import Record as Record, Series as Series
