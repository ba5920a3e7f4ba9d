"""The stages of `audit`, one a file."""
