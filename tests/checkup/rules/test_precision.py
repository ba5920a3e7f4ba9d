"""Rules about digits on records written by hand."""

import numpy as np
import pytest
from tests.checkup.records import found, judge, probe, reason, run

from steepest import Record


FALLING = 1 / (1 + np.arange(200.0))


def measured(**fact):
    whole = {
        "bits": 100.0,
        "bits.primitive": "exp",
        "bits.place": "net.py:4",
        "error": 1e-7,
        "error.primitive": "sub",
        "error.place": "net.py:7",
    }
    record = run(FALLING)
    record.facts["numerics.initial"] = whole
    record.facts["numerics.final"] = whole | fact
    return record


class TestLatent:
    def test_a_healthy_loss_has_digits_and_headroom(self):
        assert judge("NUM003", measured()) is None

    def test_a_loss_without_digits_is_grave_and_names_the_operation(self):
        finding = found("NUM003", measured(error=0.02))
        assert finding.severity.name == "HIGH"
        assert "`sub` at net.py:7" in finding.claim
        assert finding.evidence[0].observed == 0.02

    def test_two_bits_of_headroom_are_too_few(self):
        finding = found("NUM003", measured(bits=2.0))
        assert finding.severity.name == "MEDIUM"
        assert "`exp` at net.py:4" in finding.claim

    def test_what_could_not_be_measured_accuses_nobody(self):
        assert judge("NUM003", measured(bits=None, error=None)) is None

    def test_without_either_measurement_it_is_not_run(self):
        assert "numerics.initial" in reason("NUM003", run(FALLING))


def updating(shares, dtype="bfloat16", labels=("w", "b")):
    record = probe(run(FALLING), "layer.lost_updates", shares, labels=labels)
    record.facts["numerics.narrow"] = [{"path": "w", "dtype": dtype, "size": 90}]
    return record


class TestLostUpdates:
    def test_most_updates_lost_in_a_narrow_format(self):
        finding = found("NUM004", updating([[0.9, 0.0]] * 10))
        assert finding.evidence[0].observed == pytest.approx(0.9)
        assert finding.prescription.treatment == "wide parameters"

    def test_wide_weights_do_not_count(self):
        assert judge("NUM004", updating([[0.0, 1.0]] * 10)) is None

    def test_small_updates_at_the_end_of_a_run_are_no_fault(self):
        shares = [[0.1, 0.0]] * 6 + [[1.0, 0.0]] * 4
        assert judge("NUM004", updating(shares)) is None


def scaled(scale):
    record = run(np.ones(len(scale)))
    record.extend("loss_scale", range(len(scale)), list(scale))
    return record


class TestLossScale:
    def test_halvings_at_the_start_find_the_scale(self):
        scale = np.full(400, 256.0)
        scale[:8] = 2.0 ** np.arange(15, 7, -1)
        assert judge("NUM005", scaled(scale)) is None

    def test_every_tenth_update_skipped(self):
        scale = np.tile([64.0] * 5 + [32.0] * 5, 40)
        finding = found("NUM005", scaled(scale))
        assert finding.prescription.recipe == {"precision": "bfloat16"}
        assert finding.evidence[0].observed == pytest.approx(0.1, abs=0.01)

    def test_a_scale_at_its_floor(self):
        assert "scale, 1" in found("NUM005", scaled(np.ones(400))).claim


class TestBounds:
    @pytest.mark.parametrize(
        "share, guilty", [(0.0, False), (0.005, False), (0.2, True)]
    )
    def test_one_in_a_hundred_entries_beyond_the_bound(self, share, guilty):
        record = run(FALLING)
        clipped = [{"place": "loss.py:3", "share": share}]
        record.facts["numerics.clipped"] = clipped
        assert (judge("NUM006", record) is not None) == guilty


class TestEpsilon:
    def adam(self, dtype, **recipe):
        record = run(FALLING, **recipe)
        record.facts["numerics.narrow"] = [{"path": "w", "dtype": dtype, "size": 9}]
        return record

    def test_the_usual_epsilon_is_zero_in_float16(self):
        finding = found("NUM009", self.adam("float16"))
        assert finding.evidence[0].limit == pytest.approx(2**-25)

    def test_it_is_not_in_bfloat16(self):
        assert judge("NUM009", self.adam("bfloat16")) is None

    def test_a_larger_one_is_not(self):
        assert judge("NUM009", self.adam("float16", epsilon=1e-4)) is None

    def test_momentum_has_none(self):
        assert judge("NUM009", self.adam("float16", optimizer="momentum")) is None


def test_a_record_without_narrow_parameters_is_at_peace():
    record: Record = updating([[0.9, 0.9]] * 4)
    record.facts["numerics.narrow"] = []
    assert judge("NUM004", record) is None
    assert judge("NUM009", record) is None
