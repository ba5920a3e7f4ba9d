"""On what a run was made: versions and devices, for the record."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax


PACKAGES = ("steepest", "jax", "jaxlib", "equinox", "optax", "flax", "numpy")


def environment() -> dict[str, Any]:
    """Versions of Python and of the packages that matter, and the device."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    device = jax.devices()[0]
    return {
        "versions": versions,
        "device": f"{len(jax.devices())} × {device.device_kind} ({device.platform})",
        "platform": platform.platform(terse=True),
    }
