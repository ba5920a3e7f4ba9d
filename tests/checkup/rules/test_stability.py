"""The limits of the step size are those of the optimisers' own recurrences."""

import numpy as np
import pytest
from records import (
    probe,
    run,
    stable_up_to,
)

from steepest.checkup.rules.stability import stability_of


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
