"""The report for machines: strict JSON with a schema number.

    {"schema": 1, "kind": "steepest.report", "name", "verdict", "counts",
     "findings", "passed", "not_run", "mistakes", "series", "facts", "missing",
     "meta", "cost", "remarks"}

What is not finite is `null`, since JSON has no word for it. Series are summarised; the
page's download carries them whole, thinned to a few hundred steps.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...training.record import Record, Series, jsonable
from ..finding import Finding
from ..report import Report
from . import words


SCHEMA = 1
FACT = 1000  # numbers in one fact at most; a larger one is described
POINTS = 300  # steps of a downloaded series
NUMBERS = 40_000  # in a download, all series together


def dumps(report: Report, *, indent: int | None = 2) -> str:
    """The report as JSON text."""
    return strict(document(report), indent)


def document(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    titles, effects = words.titles(report), words.effects(report)
    tally = words.counts(report.findings)
    return {
        "schema": SCHEMA,
        "kind": "steepest.report",
        "name": report.name,
        "verdict": {
            "status": report.verdict.status,
            "sentence": report.verdict.sentence,
        },
        "counts": {severity.name.lower(): n for severity, n in tally.items()},
        "findings": [
            _finding(
                f, titles.get(f.rule, ""), effects[f.rule], words.cause_of(f, report)
            )
            for f in report.findings
        ],
        "passed": [{"rule": r, "title": titles.get(r, "")} for r in report.passed],
        "not_run": [
            {"rule": r, "title": titles.get(r, ""), "reason": reason}
            for r, reason in report.not_run.items()
        ],
        "mistakes": [
            {
                "index": m.index,
                "loss": m.loss,
                "target": m.target,
                "predicted": m.predicted,
                "confidence": m.confidence,
            }
            for m in report.mistakes
        ],
        "series": {n: _summary(s) for n, s in report.record.series.items()},
        "facts": {name: _fact(fact) for name, fact in report.record.facts.items()},
        "missing": dict(report.record.missing),
        "meta": report.record.meta,
        "cost": dict(report.cost),
        "remarks": words.remarks(report.record),
    }


def series(record: Record) -> str:
    """Every series as JSON, thinned: `{name: {"step", "value", "labels"}}`."""
    every = record.series
    width = sum(1 if s.value.ndim < 2 else s.value[0].size for s in every.values())
    points = max(20, min(POINTS, NUMBERS // max(width, 1)))
    content = {}
    for name, (step, value, labels) in every.items():
        index = np.arange(len(step))
        if len(step) > points:
            index = np.unique(np.linspace(0, len(step) - 1, points).astype(int))
        content[name] = {
            "step": step[index],
            "value": _rounded(value[index]),
            "labels": list(labels),
        }
    return strict({"schema": SCHEMA, "kind": "steepest.series", "series": content})


def strict(value: Any, indent: int | None = None) -> str:
    """JSON that every parser reads: no NaN, no Infinity."""
    plain = _finite(jsonable(value))
    return json.dumps(plain, indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rounded(value: np.ndarray) -> Any:
    """Floating-point values to six digits, so that a download stays small."""
    if value.dtype.kind not in "fV":
        return value
    flat = [float(f"{x:.6g}") for x in value.astype(np.float64).ravel()]
    return np.reshape(np.array(flat), value.shape)


def _finding(
    f: Finding, title: str, effects: list[str], follows: str
) -> dict[str, Any]:
    return {
        "rule": f.rule,
        "title": title,
        "severity": f.severity.name.lower(),
        "claim": f.claim,
        "evidence": [
            {
                "quantity": e.quantity,
                "observed": e.observed,
                "error": e.error,
                "limit": e.limit,
                "steps": None if e.steps is None else list(e.steps),
                "place": e.place,
            }
            for e in f.evidence
        ],
        "why": f.why,
        "reference": f.reference,
        "cause": f.cause,
        "prescription": {
            "text": f.prescription.text,
            "recipe": dict(f.prescription.recipe),
            "snippet": f.prescription.snippet,
            "treatment": f.prescription.treatment,
            # The finding to mend first; this prescription was made without that.
            "follows": follows or None,
        },
        "confidence": f.confidence,
        "refutation": f.refutation,
        "chart": None if f.chart is None else f.chart.series,
        "explained_by": f.explained_by or None,
        "explains": effects,
    }


def _summary(s: Series) -> dict[str, Any]:
    """Length, ends and extremes of a series; with labels, a list for each."""
    summary: dict[str, Any] = {
        "count": len(s.step),
        "steps": [int(s.step[0]), int(s.step[-1])] if len(s.step) else None,
        "labels": list(s.labels),
    }
    if not len(s.step) or s.value.dtype.kind not in "biufV":
        return summary
    value = s.value.astype(np.float64)
    finite = np.isfinite(value)
    over = {"axis": 0, "where": finite}
    return summary | {
        "first": value[0],
        "last": value[-1],
        "min": np.where(finite.any(0), np.min(value, initial=np.inf, **over), np.nan),
        "max": np.where(finite.any(0), np.max(value, initial=-np.inf, **over), np.nan),
        "nonfinite": np.sum(~finite, axis=0),
    }


def _fact(fact: Any) -> Any:
    if hasattr(fact, "shape") and np.size(fact) > FACT:
        return {"shape": list(np.shape(fact)), "dtype": str(fact.dtype)}
    return fact
