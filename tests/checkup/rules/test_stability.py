"""The limits of the step size are those of the optimisers' own recurrences."""

import numpy as np
import pytest
from records import (
    probe,
    run,
    stable_up_to,
)

from steepest.checkup.rules.stability import stability_of, stable_rate


METHODS = ("sgd", "momentum", "nesterov")


@pytest.mark.parametrize("beta", [0.5, 0.9])
@pytest.mark.parametrize("method", [*METHODS, "adam", "rmsprop"])
def test_the_limit_is_where_the_linear_recurrence_stops_contracting(method, beta):
    record = run(np.ones(5), 0.1, optimizer=method, momentum=beta, beta1=beta)
    for name in ("sharpness", "sharpness.preconditioned"):
        probe(record, name, [1.0, 1.0])
    # bisection and formula agree to rounding
    assert stability_of(record).limit == pytest.approx(
        stable_up_to(method, beta), rel=1e-9
    )


def test_the_limit_of_adam_is_38():
    record = run(np.ones(5), 0.1, optimizer="adam")
    assert stability_of(probe(record, "sharpness.preconditioned", [1.0])).limit == (
        pytest.approx(38)
    )


def clipped(share, **recipe):
    """A run of which this share of the updates was clipped."""
    record = run(np.ones(100), 0.1, clip_norm=1.0, **recipe)
    norms = np.where(np.arange(100) < 100 * share, 2.0, 0.5)
    record.extend("gradient_norm", range(100), list(norms))
    for name in ("sharpness", "sharpness.preconditioned"):
        probe(record, name, [4.0, 4.0])
    return record


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_where_clipping_acts_step_size_times_sharpness_says_nothing(kind):
    assert stability_of(clipped(0.8, optimizer=kind)) is None
    assert stability_of(clipped(0.01, optimizer=kind)) is not None


def test_no_rate_beyond_nine_tenths_of_the_limit_is_to_be_prescribed():
    # 2/4 without clipping: what curvature allows once the threshold is mended.
    for share in (0.0, 0.8):
        record = clipped(share, optimizer="sgd")
        assert stable_rate(record) == pytest.approx(0.9 * 0.5)
    assert stable_rate(clipped(0.8, optimizer="adam")) == np.inf


def test_what_was_measured_after_the_loss_blew_up_bounds_nothing():
    record = run(np.ones(100), 0.1, optimizer="sgd")
    probe(record, "sharpness", [4.0, 1e12], [0, 50])
    probe(record, "train.loss", [1.0, 1e9], [0, 50])
    assert stable_rate(record) == pytest.approx(0.9 * 0.5)
