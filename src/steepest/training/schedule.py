"""When to measure: as often as the budget allows, and no oftener.

Measuring `POINTS` times over the run would be enough to see its course. If that costs
more than the budget b of the training time, measurements are fewer. With t the time of
an update, S what measurements have cost so far and c what a round of them costs, the
next round is due after n updates only if

    n t b + A n/N ≥ S + 2c,                                                  (1)

so that it and the last, which always takes place, are within the budget when they are
done. A is an allowance in seconds, for who would rather look closely at a run that is
short than save its time, and N the length of the run. Compilation is not counted: it is paid once, and noted apart. A probe with an
interval of its own keeps it.
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from .probes import Context, Measure, Probe, Snapshot
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
        record: Record,
        allowance: float = 0.0,
    ) -> None:
        self.budget = budget
        self.spare = allowance / total if total else 0.0  # seconds for each update
        self.interval = max(1, (total or 1000) // POINTS)
        self.failed: set[str] = set()
        self.probes: list[tuple[Probe, Measure]] = []
        for probe in probes:
            try:
                self.probes.append((probe, probe.prepare(context)))
            except Exception as error:
                self._give_up(probe, error, record)
        self.cost: dict[str, float] = {}  # seconds of a measurement, without compiling
        self.spent = 0.0  # seconds in measurements, without compiling
        self.seconds = 0.0  # seconds in measurements, all told
        self.began = 0  # updates done before this process
        self.last: dict[str, int] = {}
        self._compiled: set[str] = set()

    def due(self, step: int, pace: float) -> bool:
        """Whether any probe is due after `step` updates of `pace` seconds each."""
        return any(self._due(probe, step, pace) for probe, _ in self.probes)

    def _due(self, probe: Probe, step: int, pace: float) -> bool:
        if probe.name in self.failed or self.last.get(probe.name) == step:
            return False
        return probe.name not in self.last or step >= self._when(probe, pace)

    def _when(self, probe: Probe, pace: float) -> float:
        """The step at which a probe that has measured before is next due."""
        last = self.last[probe.name]
        if probe.every is not None:
            return last + probe.every
        cost = sum(self.cost.get(p.name, 0.0) for p, _ in self.probes if not p.every)
        if cost == 0 or not math.isfinite(pace):
            return last + self.interval  # not yet timed
        rate = self.budget * max(pace, 1e-7) + self.spare
        least = (self.spent + 2 * cost) / rate  # (1)
        return max(last + self.interval, self.began + math.ceil(least))

    def next(self, step: int, pace: float) -> float:
        """The step at which the next probe is due."""
        return min(
            (
                max(self._when(probe, pace), step + 1)
                for probe, _ in self.probes
                if probe.name in self.last and probe.name not in self.failed
            ),
            default=math.inf,
        )

    def plan(self) -> dict[str, Any]:
        """What a resumed run needs to measure at the same steps."""
        return {"last": dict(self.last), "failed": sorted(self.failed)}

    def restore(self, plan: Mapping[str, Any], step: int) -> None:
        """Go on with the plan of a checkpoint of `step` updates."""
        self.last = dict(plan.get("last", {}))
        self.failed = set(plan.get("failed", ()))
        self.began = step

    def measure(
        self,
        step: int,
        carry: Carry,
        record: Record,
        pace: float = math.inf,
        last: bool = False,
    ) -> Mapping[str, Any]:
        """Run the probes that are due; `last` runs all that did not just run."""
        wanted = {
            probe.name
            for probe, _ in self.probes
            if self._due(probe, step, pace)
            or (last and self.last.get(probe.name) != step)
        }
        result: dict[str, Any] = {}
        for probe, measure in self.probes:
            if probe.name not in wanted - self.failed:
                continue
            began = time.perf_counter()
            try:
                values = jax.device_get(dict(measure(Snapshot(step, carry))))
            except Exception as error:
                self._give_up(probe, error, record)
                continue
            took = time.perf_counter() - began
            self.seconds += took
            if probe.name in self._compiled:
                self.spent += took
                self.cost[probe.name] = min(took, self.cost.get(probe.name, took))
            self._compiled.add(probe.name)
            self.last[probe.name] = step
            for name, value in values.items():
                value, labels = value if isinstance(value, tuple) else (value, ())
                result[name] = value
                record.add(name, step, np.asarray(value), labels)
        return result

    def _give_up(self, probe: Probe, error: Exception, record: Record) -> None:
        """A probe must not cost the run."""
        line = (str(error).splitlines() or [""])[0]
        record.missing[f"probe {probe.name}"] = f"{type(error).__name__}: {line}"
        self.failed.add(probe.name)
