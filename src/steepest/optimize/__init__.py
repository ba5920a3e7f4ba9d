"""Descent: directions, step sizes, and what the minibatch does to both."""
