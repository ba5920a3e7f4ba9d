"""The stable forms against many digits."""
