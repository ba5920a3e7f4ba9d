"""A data set: inputs, targets, and what is known about them."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Num, Shaped

from ..core.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """Examples with their targets, as NumPy arrays ready for JAX (32-bit)."""

    inputs: Num[np.ndarray, "n ..."]
    targets: Num[np.ndarray, "n ..."]
    task: Literal["classification", "regression"]
    name: str = ""
    classes: tuple[str, ...] = ()  # names, in the order of the class numbers
    features: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None  # of one example, if it is a picture
    groups: Shaped[np.ndarray, " n"] | None = None  # patient, writer, day, ...

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets):
            raise InputError(
                f"There are {len(self.inputs)} inputs but {len(self.targets)} targets."
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, chosen: Num[np.ndarray, " m"]) -> "Dataset":
        """The chosen examples, by index."""
        groups = None if self.groups is None else self.groups[chosen]
        return replace(
            self,
            inputs=self.inputs[chosen],
            targets=self.targets[chosen],
            groups=groups,
        )

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """`(inputs, targets)`, as a `Problem` takes them."""
        return self.inputs, self.targets
