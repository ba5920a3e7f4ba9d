"""Real data that come with scikit-learn: no download, BSD-3.

| name            | examples × features | task                        |
|-----------------|---------------------|-----------------------------|
| digits          | 1797 × 64 (8×8)     | ten classes                 |
| breast-cancer   | 569 × 30            | two classes                 |
| wine            | 178 × 13            | three classes               |
| iris            | 150 × 4             | three classes               |
| diabetes        | 442 × 10            | regression, target 25 to 346|
"""

import numpy as np

from ..core.errors import InputError
from .dataset import Dataset


NAMES = ("digits", "breast-cancer", "wine", "iris", "diabetes")


def load(name: str) -> Dataset:
    """An embedded data set, raw: as it was measured, in its original order.

    Raises `InputError` for a name that is not in the table above.

    >>> load("digits").inputs.shape
    (1797, 64)
    """
    from sklearn import datasets  # takes a while to import

    if name not in NAMES:
        raise InputError(
            f"There is no embedded data set {name!r}; there are {', '.join(NAMES)}."
        )
    regression = name == "diabetes"
    options = {"scaled": False} if regression else {}
    raw = getattr(datasets, f"load_{name.replace('-', '_')}")(**options)
    return Dataset(
        inputs=np.asarray(raw.data, np.float32),
        targets=np.asarray(raw.target, np.float32 if regression else np.int32),
        task="regression" if regression else "classification",
        name=name,
        classes=() if regression else tuple(map(str, raw.target_names)),
        features=tuple(map(str, getattr(raw, "feature_names", ()))),
        image_shape=(8, 8) if name == "digits" else None,
    )
