"""NUM007 and NUM008 on records written by hand."""

import numpy as np
import pytest
from tests.checkup.records import found, judge, run


FALLING = 1 / (1 + np.arange(200.0))


class TestRecompilation:
    def shapes(self, steps, total=200):
        record = run(np.ones(total))
        record.facts["program.new_shapes"] = list(steps)
        return record

    def test_a_smaller_last_batch_is_one_compilation(self):
        assert judge("NUM007", self.shapes([0, 31])) is None

    def test_ever_new_lengths(self):
        finding = found("NUM007", self.shapes(range(0, 200, 10)))
        assert finding.evidence[0].observed == pytest.approx(10, abs=0.1)

    def test_a_loop_may_log_a_running_count(self):
        record = run(np.ones(100))
        record.extend("compilations", range(100), list(range(100)))
        assert found("NUM007", record).evidence[0].observed == pytest.approx(100)


class TestScaledTwice:
    def inputs(self, largest=0.0039, share=1.0, levels=100):
        record = run(FALLING)
        fact = {"largest": largest, "share": share, "levels": levels}
        record.facts["numerics.scaled_twice"] = fact
        return record

    def test_whole_multiples_of_one_over_the_square(self):
        assert found("NUM008", self.inputs()).prescription.treatment

    def test_small_measurements_are_no_multiples(self):
        assert judge("NUM008", self.inputs(share=0.02)) is None

    def test_zeros_alone_say_nothing(self):
        assert judge("NUM008", self.inputs(largest=0.0, levels=1)) is None
