"""Measurements before (and after) the run: data, program, first state, experiments.

Each module has `measure(problem, recipe, record)`, which writes facts into the record,
or the reason why one is missing. Nothing here judges.
"""
