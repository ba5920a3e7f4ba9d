"""How many directions features have, where that is known."""

import numpy as np
import pytest
from small import classifier, net, weights

from steepest import Recipe, fit
from steepest.checkup.preflight.features import (
    effective_rank,
    last_features,
    mean_cosine,
    measure_after,
)
from steepest.training.probes.keeping import keep_end


def test_equal_directions_are_counted_and_unequal_ones_count_less():
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((200, 5)))
    q = q - q.mean(axis=0)
    q, _ = np.linalg.qr(q)
    # orthogonal and centred: five equal eigenvalues, of float64
    assert effective_rank(q) == pytest.approx(5, rel=1e-9)
    assert effective_rank(q * np.array([1, 1e-6, 0, 0, 0])) == pytest.approx(
        1, abs=1e-9
    )
    assert effective_rank(np.ones((50, 4))) == 0.0


def test_the_cosine_is_that_of_all_pairs():
    h = np.random.default_rng(1).standard_normal((30, 4))
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    pairs = (unit @ unit.T)[~np.eye(30, dtype=bool)]
    assert mean_cosine(h) == pytest.approx(pairs.mean(), rel=1e-9)
    assert mean_cosine(np.abs(h) * 0 + 2.0) == pytest.approx(1.0)


@pytest.mark.slow
def test_the_last_features_of_a_net_are_those_of_numpy():
    problem = classifier(weights((4, 8), (8, 6), (6, 3)), net)
    keeping, end = keep_end()
    recipe = Recipe(batch_size=60, steps=20)
    _, record = fit(problem, recipe, probes=(keeping,))
    measure_after(end(), record)
    fact, kept = record.facts["features.last"], end()
    assert kept is not None
    h = np.asarray(kept.context.batch[0], np.float64)
    for w in kept.snapshot.carry.params[:-1]:
        h = np.maximum(h @ np.asarray(w, np.float64), 0)
    assert fact["width"] == 6
    # float32 features
    assert fact["rank"] == pytest.approx(effective_rank(h), rel=1e-4)
    assert fact["cosine"] == pytest.approx(mean_cosine(h), rel=1e-4)
    assert last_features(kept) == fact


def test_without_an_end_the_reason_is_given():
    from steepest import Record

    record = Record()
    measure_after(None, record)
    assert "no last state" in record.missing["features.last"]
