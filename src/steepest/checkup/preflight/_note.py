"""Write one measurement into the record, or why it is missing."""

from collections.abc import Callable
from typing import Any

from ...core.errors import InputError, in_short
from ...training import Record


def note(
    record: Record,
    name: str,
    measurement: Callable[[], Any],
    without: str = "this program has nothing to measure it on",
) -> None:
    """Write the fact `name`; no measurement that fails costs the user the report.

    An `InputError` is a reason by itself; `without` is the reason for a measured None.
    """
    try:
        value = measurement()
    except InputError as error:
        record.missing[name] = str(error)
    except Exception as error:
        record.missing[name] = f"could not be measured: {in_short(error)}"
    else:
        if value is None:
            record.missing.setdefault(name, without)
        else:
            record.facts[name] = value
