"""The command line: one file a verb, and nothing that costs time until a verb runs."""
