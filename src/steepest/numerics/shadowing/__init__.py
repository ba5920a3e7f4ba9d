"""A program and, beside it, itself in wider precision."""
