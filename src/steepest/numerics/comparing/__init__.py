"""Two versions of a program, side by side."""
