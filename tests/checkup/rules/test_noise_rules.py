"""Rules about the size of a batch, on records whose noise is known."""

import numpy as np
import pytest
from records import found, judge, probe, run, scored

from steepest.checkup.finding import Severity


def shaken(batch=1, low=50.0, high=200.0, swing=0.5, train=0.4, **meta):
    """A loss that stands at 1 and moves to and fro, on fixed data."""
    record = run(np.full(400, 1.0), 0.05, optimizer="sgd", batch_size=batch)
    late = 1 + swing * (-1.0) ** np.arange(12) / 2
    probe(record, "train.loss", [3.0, 2.0, *np.linspace(1.8, 1.1, 8), *late])
    record.facts |= {"noise.scale": 100.0, "noise.scale_interval": [low, high]}
    record.meta |= {"examples": 1000, "steps": 400} | meta
    return scored(record, train, constant=0.0, linear=0.8, metric="R²")


# -- OPT010: too small -----------------------------------------------------------------


def test_a_batch_far_below_the_noise_scale_is_found_where_the_loss_is_shaken():
    finding = found("OPT010", shaken())
    assert finding.evidence[0].observed == pytest.approx(1 / 100)
    assert finding.evidence[1].observed == pytest.approx(0.25, rel=0.1)
    assert finding.prescription.recipe["batch_size"] == 32
    assert finding.prescription.recipe["steps"] == 400  # as many updates as before


@pytest.mark.parametrize(
    "record",
    [
        shaken(batch=64),  # no small batch
        shaken(low=0.5),  # nothing is known of so low an end
        shaken(swing=0.01),  # it stands still
        shaken(train=0.95),  # it got there
    ],
    ids=["large", "unknown", "still", "succeeded"],
)
def test_a_small_batch_is_no_fault_by_itself(record):
    assert judge("OPT010", record) is None


def test_a_loss_that_falls_faster_than_it_jumps_is_on_its_way():
    record = shaken(swing=0.0)
    falling = run(np.linspace(3, 1, 400), 0.05, optimizer="sgd", batch_size=1)
    falling.facts |= record.facts
    falling.meta |= record.meta
    probe(falling, "train.loss", np.geomspace(3, 0.2, 22))
    assert judge("OPT010", falling) is None


def test_the_share_of_the_noise_scale_can_be_replaced():
    assert judge("OPT010", shaken(), ratio=0.001) is None


# -- OPT011: too large -----------------------------------------------------------------


def wasteful(batch=1000, high=20.0, losses=None, per_epoch=1.0, train=0.4, **meta):
    """Few updates of a large batch, and a loss that is still falling."""
    losses = np.linspace(3, 1.5, 40) if losses is None else losses
    record = run(losses, 0.05, optimizer="sgd", batch_size=batch)
    record.facts |= {"noise.scale": 10.0, "noise.scale_interval": [5.0, high]}
    record.meta |= {"examples": 1000, "batches_per_epoch": per_epoch, "steps": 40}
    record.meta |= meta
    return scored(record, train, constant=0.0, linear=0.8, metric="R²")


def test_a_batch_far_above_the_noise_scale_is_found_where_updates_run_out():
    finding = found("OPT011", wasteful())
    assert finding.severity == Severity.MEDIUM
    assert finding.evidence[0].observed == pytest.approx(50)
    assert 16 <= finding.prescription.recipe["batch_size"] <= 32


def test_the_size_of_the_data_bounds_the_batch():
    finding = found("OPT011", wasteful(batch=10**6))
    assert finding.evidence[0].observed == pytest.approx(50)


@pytest.mark.parametrize(
    "record",
    [
        wasteful(high=np.inf),  # the noise scale is not known
        wasteful(per_epoch=50.0),  # updates enough
        wasteful(losses=np.full(40, 1.5)),  # it has come to rest
        wasteful(train=0.95),  # it got there
        wasteful(ended="out of time"),  # the check ended it, not the recipe
    ],
    ids=["unknown", "many", "rest", "succeeded", "stopped"],
)
def test_a_large_batch_is_no_fault_by_itself(record):
    assert judge("OPT011", record) is None
