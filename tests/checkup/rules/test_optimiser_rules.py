"""Rules about the optimiser's settings, on records in which each is right or wrong."""

import numpy as np
import pytest
from records import found, judge, noisy, probe, reason, run, scored

from steepest import Record, review
from steepest.checkup.finding import Severity


def poor(record):
    """A model that is far worse than a linear one."""
    return scored(record, 0.3, constant=0.1, linear=0.9)


# -- OPT012: clipping ------------------------------------------------------------------


def clipped(norms, bound, poorly=True, **recipe):
    recipe = {"optimizer": "sgd"} | recipe
    record = run(np.linspace(2, 1, len(norms)), 0.1, clip_norm=bound, **recipe)
    record.extend("gradient_norm", range(len(norms)), list(np.asarray(norms, float)))
    return poor(record) if poorly else scored(record, 0.97)


def norms(seed=0, n=400):
    return np.random.default_rng(seed).lognormal(0.0, 0.3, n)


def test_clipping_in_every_update_is_found_and_set_to_the_90th_percentile():
    finding = found("OPT012", clipped(norms(), 0.01))
    assert finding.severity == Severity.MEDIUM
    assert finding.evidence[0].observed == 1.0
    wanted = np.quantile(norms(), 0.9)
    # two digits are prescribed
    assert finding.prescription.recipe["clip_norm"] == pytest.approx(wanted, rel=0.05)


def test_clipping_that_did_no_harm_is_a_note():
    finding = found("OPT012", clipped(norms(), 0.01, poorly=False))
    assert finding.severity == Severity.NOTE


@pytest.mark.parametrize("kind", ["adam", "adamw", "rmsprop", "lion"])
def test_an_optimiser_that_divides_by_its_gradients_is_told_of_clipping_in_a_note(kind):
    finding = found("OPT012", clipped(norms(), 0.01, optimizer=kind))
    assert finding.severity == Severity.NOTE


def test_clipping_one_update_in_five_is_silent():
    assert judge("OPT012", clipped(norms(), np.quantile(norms(), 0.8))) is None


def test_a_threshold_above_everything_is_a_note_only_where_it_is_far_above():
    assert found("OPT012", clipped(norms(), 1e4)).severity == Severity.NOTE
    assert judge("OPT012", clipped(norms(), 2 * norms().max())) is None


def test_without_a_threshold_nothing_is_clipped():
    assert judge("OPT012", clipped(norms(), None)) is None


# -- OPT013: ε and β₂ ------------------------------------------------------------------


def adam(small=0.0, root=0.01, losses=None, poorly=True, **recipe):
    losses = np.linspace(2, 1.8, 300) if losses is None else losses
    record = run(losses, 1e-3, optimizer="adam", **recipe)
    probe(record, "optimizer.small_roots", np.full(10, small))
    probe(record, "optimizer.root", np.broadcast_to(root, 10))
    return poor(record) if poorly else scored(record, 0.97)


def test_an_epsilon_above_the_roots_is_found_and_set_below_them():
    finding = found("OPT013", adam(small=1.0, root=0.01, epsilon=1.0))
    assert finding.prescription.recipe["epsilon"] == pytest.approx(1e-5)


@pytest.mark.parametrize(
    "record",
    [
        adam(small=0.02),  # as it should be
        adam(small=1.0, root=0.01, epsilon=1.0, poorly=False),  # no harm
        adam(small=0.6, root=0.01, epsilon=5e-3),  # most are above
    ],
    ids=["usual", "succeeded", "above"],
)
def test_an_epsilon_that_decides_little_is_silent(record):
    assert judge("OPT013", record) is None


def test_an_epsilon_that_is_zero_in_its_format_is_found_where_the_run_broke():
    record = adam(epsilon=1e-45)
    assert judge("OPT013", record) is None
    record.meta["ended"] = "non-finite"
    assert found("OPT013", record).prescription.recipe == {"epsilon": 1e-8}


def test_a_second_moment_that_forgets_before_a_leap_is_found():
    losses = np.r_[np.linspace(2, 1, 250), np.full(50, 1.9)]
    root = np.geomspace(1, 0.01, 10)
    finding = found("OPT013", adam(root=root, losses=losses, beta2=0.9))
    assert finding.prescription.recipe == {"beta2": 0.999}
    assert judge("OPT013", adam(root=root, losses=losses, beta2=0.999)) is None
    assert judge("OPT013", adam(root=root, beta2=0.9)) is None  # nothing leapt


# -- OPT014: the schedule --------------------------------------------------------------


def scheduled(rates, losses=None, poorly=True, **recipe):
    losses = np.linspace(2, 1.5, len(rates)) if losses is None else losses
    record = run(losses, **({"optimizer": "sgd"} | recipe))
    record.extend("learning_rate", range(len(rates)), list(np.asarray(rates, float)))
    return poor(record) if poorly else scored(record, 0.97)


def cosine(n, horizon, peak=0.1):
    t = np.minimum(np.arange(n) / horizon, 1)
    return peak * (1 + np.cos(np.pi * t)) / 2


def test_a_rate_that_is_gone_long_before_the_end_is_found():
    finding = found("OPT014", scheduled(cosine(400, 20)))
    assert finding.evidence[0].observed == pytest.approx(0.95, abs=0.02)
    change = finding.prescription.recipe
    assert change["schedule"] == "cosine"
    assert change["learning_rate"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "record",
    [
        scheduled(cosine(400, 400)),  # as it should be
        scheduled(cosine(400, 20), poorly=False),  # it was enough
        scheduled(np.minimum(np.arange(1, 401) / 200, 1) * 0.1),  # warm-up
        scheduled(np.full(400, 0.1)),
    ],
    ids=["cosine", "succeeded", "warm-up", "constant"],
)
def test_schedules_that_leave_a_rate_are_silent(record):
    assert judge("OPT014", record) is None


def restarted(after):
    rates = np.r_[cosine(200, 201), cosine(200, 200)]
    losses = np.r_[np.linspace(2, 1, 200), after]
    return scheduled(rates, noisy(losses, 1e-3))


def test_a_restart_that_undoes_what_was_learned_is_found():
    assert "restart" in found("OPT014", restarted(np.full(200, 1.8))).claim


def test_a_restart_that_comes_back_is_silent():
    assert judge("OPT014", restarted(np.linspace(1.8, 0.8, 200))) is None


def leaping(**recipe):
    losses = np.r_[2.0, 2.0, 2.0, 30.0, np.linspace(25, 1.5, 396)]
    return scheduled(np.full(400, 0.1), losses, **recipe)


def test_an_early_leap_is_given_a_warm_up():
    assert found("OPT014", leaping()).prescription.recipe == {"warmup": 20}


def test_a_leap_that_is_gone_at_once_or_was_warmed_up_is_silent():
    losses = np.r_[2.0, 2.0, 2.0, 30.0, np.linspace(1.9, 1.5, 396)]
    assert judge("OPT014", scheduled(np.full(400, 0.1), losses)) is None
    assert judge("OPT014", leaping(warmup=50)) is None


# -- OPT015: memory --------------------------------------------------------------------


def test_a_count_that_stays_at_one_is_found():
    record = probe(run(np.linspace(2, 1, 200)), "optimizer.count", np.ones(10))
    finding = found("OPT015", record)
    assert finding.severity == Severity.HIGH
    assert "init" in finding.prescription.snippet


def test_a_count_that_grows_is_silent():
    steps = np.linspace(0, 199, 10).astype(int)
    record = probe(run(np.linspace(2, 1, 200)), "optimizer.count", steps, steps)
    assert judge("OPT015", record) is None


def remembering(beta, scale=1.0):
    """A momentum of gradients of random length and sign, at ten looks."""
    g = np.random.default_rng(0).standard_normal(200)
    record = run(np.linspace(2, 1, 200), 0.1, optimizer="momentum", momentum=beta)
    record.extend("gradient_norm", range(200), list(np.abs(g)))
    m, steps, sizes = 0.0, range(15, 200, 20), []
    for step in range(200):
        if step in steps:
            sizes.append(abs(m) * scale)
        m = beta * m + g[step]
    return probe(record, "optimizer.momentum_norm", sizes, list(steps))


def test_a_momentum_that_is_the_last_gradient_is_found():
    record = remembering(0.0)
    record.meta["recipe"]["momentum"] = 0.9  # what was asked for
    assert "first moment" in found("OPT015", record).evidence[0].quantity


def test_a_momentum_that_remembers_is_silent_and_so_is_one_without_memory():
    assert judge("OPT015", remembering(0.9)) is None
    assert judge("OPT015", remembering(0.0)) is None  # β = 0: asked for


def test_a_loop_of_ones_own_is_judged_by_what_it_logs():
    kept, lost = Record(), Record()
    for step in range(100):
        kept.log(step, loss=1 / (step + 1), optimizer_count=step + 1)
        lost.log(step, loss=1 / (step + 1), optimizer_count=1)
    assert "OPT015" in [f.rule for f in review(lost).findings]
    assert "OPT015" in review(kept).passed


def test_a_loop_that_logs_nothing_of_it_is_told_what_to_log():
    record = Record()
    for step in range(50):
        record.log(step, loss=1.0)
    assert "optimizer.count" in review(record).not_run["OPT015"]
    assert "optimizer.count" in reason("OPT015", Record())
