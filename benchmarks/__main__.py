"""`python -m benchmarks AREA`: run one benchmark, or all of them one after the other.

An area is a module of this package with a `main()`; options after the area are its own.
"""

import importlib
import sys
from pathlib import Path


AREAS = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if path.stem[0] != "_"
)


def main(arguments: list[str]) -> int:
    """Run what is asked for; return the exit status."""
    if arguments and arguments[0] in ("-h", "--help"):
        print("python -m benchmarks [AREA [OPTIONS]]\n\nAreas, all without one:\n")
        for area in AREAS:
            about = importlib.import_module(f"benchmarks.{area}").__doc__ or ""
            print(f"  {area:<10} {about.splitlines()[0]}")
        return 0
    areas = arguments[:1] or AREAS
    if not set(areas) <= set(AREAS):
        print(f"There is no area {areas[0]!r}; there are {', '.join(AREAS)}.")
        return 2
    for area in areas:
        print(f"== {area}")
        sys.argv = [f"benchmarks {area}", *arguments[1:]]
        importlib.import_module(f"benchmarks.{area}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
