"""When to measure: as often as the budget allows, and no oftener.

Measuring `POINTS` times over the run would be enough to see its course. If that costs
more than the budget b of the training time, the interval is widened to

    interval ≥ c / (b t),                                                    (1)

with c the measured cost of one round of probes and t that of an update. Compilation is
not counted: it is paid once, and noted apart.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from .probes import Context, Probe, Snapshot
from .record import Record
from .step import Carry


POINTS = 25


class Schedule:
    """The probes of a run, prepared, and when they are next due."""

    def __init__(
        self,
        context: Context,
        probes: Sequence[Probe],
        total: int | None,
        budget: float,
    ) -> None:
        self.budget = budget
        self.points = POINTS
        self.interval = max(1, (total or 1000) // POINTS)
        self.probes = [(probe, probe.prepare(context)) for probe in probes]
        self.cost: dict[str, float] = {}  # seconds of a measurement, without compiling
        self.spent = 0.0  # seconds in measurements, without compiling
        self.seconds = 0.0  # seconds in measurements, all told
        self.last: dict[str, int] = {}
        self.pace = np.inf  # seconds an update takes, at its best
        self.failed: set[str] = set()

    def due(self, step: int) -> bool:
        """Whether any probe is due after `step` updates."""
        return any(self._due(probe, step) for probe, _ in self.probes)

    def _due(self, probe: Probe, step: int) -> bool:
        if probe.name in self.failed or self.last.get(probe.name) == step:
            return False
        if probe.name not in self.last:
            return True
        return step - self.last[probe.name] >= (probe.every or self.interval)

    def next(self, step: int) -> float:
        """The step at which the next probe is due."""
        return min(
            (
                self.last[probe.name] + (probe.every or self.interval)
                for probe, _ in self.probes
                if probe.name in self.last and probe.name not in self.failed
            ),
            default=np.inf,
        )

    def measure(
        self, step: int, carry: Carry, record: Record, last: bool = False
    ) -> Mapping[str, Any]:
        """Run the probes that are due; `last` runs all that did not just run."""
        self._adapt()
        result: dict[str, Any] = {}
        for probe, measure in self.probes:
            wanted = self._due(probe, step)
            if last:
                fresh = self.last.get(probe.name) == step
                wanted = not fresh and probe.name not in self.failed
            if not wanted:
                continue
            began = time.perf_counter()
            try:
                values = jax.device_get(dict(measure(Snapshot(step, carry))))
            except KeyboardInterrupt:
                raise
            except Exception as error:  # a probe must not cost the run
                line = (str(error).splitlines() or [""])[0]
                record.missing[f"probe {probe.name}"] = (
                    f"{type(error).__name__}: {line}"
                )
                self.failed.add(probe.name)
                continue
            took = time.perf_counter() - began
            self.seconds += took
            if probe.name in self.last:
                self.spent += took
                self.cost[probe.name] = min(took, self.cost.get(probe.name, took))
            self.last[probe.name] = step
            for name, value in values.items():
                value, labels = value if isinstance(value, tuple) else (value, ())
                result[name] = value
                record.add(name, step, np.asarray(value), labels)
        return result

    def _adapt(self) -> None:
        """Widen the interval where (1) asks for it."""
        if np.isfinite(self.pace):
            least = sum(self.cost.values()) / (self.budget * max(self.pace, 1e-7))
            self.interval = max(self.interval, int(np.ceil(least)))
