"""What the data are like, measured before anything is trained: facts `data.*`.

All of it is cheap: at most `MOST` examples are looked at, and what is a statistic of
features is taken over all their entries in float64.
"""

from typing import Any

import numpy as np
from jaxtyping import Int

from ...training import Problem, Recipe, Record
from ...training.problem import first_batch, is_arrays, labels_of, split, task_of


MOST = 20_000
#: Inputs that have a scale: floats, and bytes of a picture; other integers are indices.
SCALED = (np.float16, np.float32, np.float64, np.uint8)


def measure(problem: Problem, recipe: Recipe, record: Record) -> None:
    """Write the facts `data.*`, and the user's notes as `problem.*`, into the record."""
    record.facts |= {f"problem.{name}": note for name, note in problem.notes.items()}
    arrays = is_arrays(problem.data)
    batch = problem.data if arrays else first_batch(problem, MOST)
    record.facts["data.shuffled"] = bool(recipe.shuffle) if arrays else None
    x, y = split(problem, batch)
    x = x if hasattr(x, "dtype") else None
    y = y if hasattr(y, "dtype") else None
    task = task_of(problem, batch)
    record.facts["data.task"] = task
    if x is not None:
        record.facts["data.examples"] = len(x)
    record.facts["data.nonfinite"] = nonfinite(problem, x, y)
    measure_inputs(x, record)
    measure_targets(y, task, record)
    measure_order(y, task, recipe.batch_size, record)
    measure_overlap(problem, x, record)


def nonfinite(problem: Problem, x: Any, y: Any) -> dict[str, Any]:
    """How many inputs and targets are NaN or infinite, and the first row with one."""
    result: dict[str, Any] = {"count": 0, "rows": 0, "first": None, "where": ""}
    sets = [("inputs", x), ("targets", y)]
    if problem.validation is not None and is_arrays(problem.validation):
        xv, yv = split(problem, problem.validation)
        sets += [("validation inputs", xv), ("validation targets", yv)]
    for name, array in sets:
        if not hasattr(array, "dtype") or np.asarray(array[:1]).dtype.kind != "f":
            continue
        bad = ~np.isfinite(np.asarray(array, np.float32)).reshape(len(array), -1)
        if bad.any():
            rows = np.flatnonzero(bad.any(axis=1))
            result["count"] += int(bad.sum())
            result["rows"] += len(rows)
            if not result["where"]:
                result["where"], result["first"] = name, int(rows[0])
    return result


def measure_inputs(x: Any, record: Record) -> None:
    """The scale of the inputs, over all and by feature."""
    names = ("data.rms", "data.scale_ratio")
    if x is None or np.asarray(x[:1]).dtype not in SCALED:
        reason = "the inputs are not an array of floats"
        record.missing.update(dict.fromkeys(names, reason))
        return
    sample = np.asarray(x[:: max(1, len(x) // MOST)], np.float64)
    sample = np.where(np.isfinite(sample), sample, np.nan).reshape(len(sample), -1)
    with np.errstate(invalid="ignore", over="ignore"):
        square = np.nan_to_num(sample**2).mean(axis=0)
    scale = np.sqrt(square)
    used = scale[scale > 0]
    if not len(used):
        record.missing.update(dict.fromkeys(names, "all inputs are zero"))
        return
    record.facts["data.rms"] = float(np.sqrt(square.mean()))
    record.facts["data.scale_ratio"] = float(used.max() / np.median(used))


def measure_targets(y: Any, task: str, record: Record) -> None:
    """Classes and their counts, or the scale of the targets."""
    if y is None:
        for name in ("data.class_counts", "data.majority", "data.target_std"):
            record.missing[name] = "the targets could not be told from the batch"
        return
    y = np.asarray(y)
    if task == "classification":
        labels = labels_of(y)
        values, counts = np.unique(labels[np.isfinite(labels)], return_counts=True)
        record.facts["data.class_counts"] = {
            str(int(v)): int(c) for v, c in zip(values, counts, strict=True)
        }
        record.facts["data.classes"] = len(values)
        record.facts["data.majority"] = float(counts.max() / counts.sum())
        record.missing["data.target_std"] = "a classification has no target scale"
        return
    record.missing["data.class_counts"] = f"the task is {task}, not a classification"
    record.missing["data.majority"] = record.missing["data.class_counts"]
    if task == "regression":
        finite = y[np.isfinite(y)].astype(np.float64)
        if len(finite):
            record.facts["data.target_std"] = float(finite.std())
            record.facts["data.target_mean"] = float(finite.mean())
    else:
        record.missing["data.target_std"] = "the targets are not plain numbers"


def measure_order(y: Any, task: str, batch_size: int, record: Record) -> None:
    """How alike the classes of neighbours are: batches in order against the whole.

        entropy ratio = mean over batches of H(classes in batch) / H(classes)      (1)

    against the same for a random order, since a small batch cannot hold all classes.
    """
    name = "data.batch_entropy"
    if y is None or task != "classification":
        record.missing[name] = "batches are compared by their classes; there are none"
        return
    y = np.asarray(y)
    labels = labels_of(y)
    size = min(batch_size, len(labels))
    count = len(labels) // size
    if count < 2:
        record.missing[name] = "there is only one batch"
        return
    classes = np.unique(labels, return_inverse=True)[1]
    shuffled = np.random.default_rng(0).permutation(classes)

    def mean_entropy(order: np.ndarray) -> float:
        batches = order[: count * size].reshape(count, size)
        return float(np.mean([entropy(np.bincount(b)) for b in batches]))

    reference = mean_entropy(shuffled)
    record.facts[name] = mean_entropy(classes) / reference if reference > 0 else 1.0


def entropy(counts: Int[np.ndarray, " classes"]) -> float:
    """The entropy of a histogram, in nats."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def measure_overlap(problem: Problem, x: Any, record: Record) -> None:
    """Rows, and groups, that stand on both sides of the split.

    Discrete data repeat themselves by nature, so the share of held-out rows that are in
    the training data goes beside the share of training rows that are there twice.
    """
    name = "data.overlap"
    held = problem.validation
    if held is None or not is_arrays(held) or not is_arrays(problem.data) or x is None:
        record.missing[name] = "there are no two sets of arrays to compare"
        return
    xv, _ = split(problem, held)
    if not hasattr(xv, "dtype") or xv.shape[1:] != x.shape[1:]:
        record.missing[name] = "the held-out inputs are not arrays of the same shape"
        return
    train, other = rows(x), rows(np.asarray(xv, np.asarray(x[:1]).dtype))
    known = set(train)
    shared = [i for i, row in enumerate(other) if row in known]
    fact: dict[str, Any] = {
        "shared": len(shared),
        "held_out": len(other),
        "share": len(shared) / len(other),
        "first": shared[0] if shared else None,
        "within": 1 - len(known) / len(train),
        "groups": 0,
    }
    if problem.groups is not None:
        ours, theirs = (set(np.asarray(g).tolist()) for g in problem.groups)
        fact["groups"] = len(ours & theirs)
    record.facts[name] = fact


def rows(x: Any) -> list[bytes]:
    """Every row as bytes, for comparing."""
    x = np.asarray(x)[:MOST]
    x = np.ascontiguousarray(x.reshape(len(x), -1))
    return [row.tobytes() for row in x]
