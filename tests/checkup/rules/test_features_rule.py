"""SIG006: features that have collapsed, and those that only look so."""

import numpy as np
import pytest
from records import found, judge, run, scored


def features(rank, width=64, cosine=0.5, train=0.15, classes=10):
    record = scored(run(np.full(200, 2.3), 0.1), train, constant=0.1, linear=0.9)
    record.facts["data.classes"] = classes
    record.facts["features.last"] = {
        "site": "relu model.py:3",
        "width": width,
        "rank": rank,
        "cosine": cosine,
    }
    return record


def test_one_direction_for_ten_classes_is_found():
    finding = found("SIG006", features(1.2))
    assert finding.evidence[0].observed == pytest.approx(1.2)
    assert finding.evidence[0].place == "relu model.py:3"


def test_features_that_all_point_one_way_are_found_whatever_the_width():
    assert judge("SIG006", features(1.1, width=8, cosine=0.999)) is not None


@pytest.mark.parametrize(
    "record",
    [
        features(8.0),  # directions enough
        features(1.2, train=0.97),  # it learned
        features(0.9, classes=2, cosine=0.5, width=8),  # two classes need no more
        features(20.0, cosine=0.98),  # sigmoid features: one quadrant, many directions
    ],
    ids=["many", "succeeded", "two", "quadrant"],
)
def test_what_only_looks_collapsed_is_silent(record):
    assert judge("SIG006", record) is None
