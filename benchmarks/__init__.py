"""Ours beside a named peer, in one run, as ratios: `python -m benchmarks AREA`."""
