"""Apply rules to a record: the whole of judging, with nothing left to the device."""

import dataclasses
import warnings
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..core.errors import InputError, in_short
from ..training.record import Record
from .finding import Finding
from .rank import rank
from .rule import Examination, Rule


def examine(
    record: Record,
    rules: Sequence[Rule],
    *,
    limits: Mapping[str, float] | None = None,
    silence: Collection[str] = (),
) -> Examination:
    """Judge a record by `rules`; pure, and therefore repeatable on a saved record.

    `limits` replaces thresholds by name (`{"OPT001.product": 1.8}`), and `silence`
    names rules to leave out. A rule that needs what the record lacks is "not run", with
    the record's reason; so is a rule that fails, since one bad rule of a user must not
    cost them the report.

    Raises `InputError` for a limit or a silenced rule that does not exist.
    """
    rules = retuned(rules, limits or {})
    if unknown := sorted(set(silence) - {rule.id for rule in rules}):
        raise InputError(
            f"There is no rule {unknown[0]} to silence; `steepest rules` lists them."
        )
    findings: list[Finding] = []
    passed: list[str] = []
    not_run: dict[str, str] = {}
    for rule in rules:
        lacking = [
            need.split("|")[0]
            for need in rule.needs
            if not any(name in record for name in need.split("|"))
        ]
        if rule.id in silence:
            not_run[rule.id] = "silenced by the user"
        elif lacking:
            unmeasured = f"`{lacking[0]}` was not measured"
            not_run[rule.id] = record.missing.get(lacking[0], unmeasured)
        else:
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    # A record of a run that failed is full of what is not finite.
                    warnings.simplefilter("ignore", RuntimeWarning)
                    finding = rule.judge(record, rule.limits)
            except Exception as error:
                not_run[rule.id] = f"the rule failed: {in_short(error)}"
                continue
            if finding is None:
                passed.append(rule.id)
            else:
                findings.append(finding)
    return Examination(rank(findings, rules), tuple(passed), not_run)


def retuned(rules: Sequence[Rule], limits: Mapping[str, float]) -> tuple[Rule, ...]:
    """The rules with some thresholds replaced: `{"OPT001.product": 1.8}`.

    Raises `InputError` for a threshold that does not exist or is not a number.
    """
    by_id = {rule.id: rule for rule in rules}
    for name, value in limits.items():
        rule_id, _, limit = name.partition(".")
        rule = by_id.get(rule_id)
        if rule is None or limit not in rule.limits:
            known = sorted(f"{r.id}.{k}" for r in by_id.values() for k in r.limits)
            near = [k for k in known if k.startswith(rule_id)] or known
            raise InputError(
                f"There is no limit `{name}`; for example, there is `{near[0]}`."
                if near
                else f"There is no limit `{name}`: none of these rules has limits."
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"The limit `{name}` must be a number, but is {value!r}.")
        by_id[rule_id] = dataclasses.replace(
            rule, limits={**rule.limits, limit: float(value)}
        )
    return tuple(by_id.values())
