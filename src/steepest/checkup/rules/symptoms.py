"""What follows from what: groups of symptoms that several causes have in common.

A rule's `explains` names the findings that it can bring about (see `rank`).
"""

#: A loss that does not tell right from wrong: nothing is learned.
STUCK = ("SIG005", "SIG006", "OPT005", "OPT006", "OPT007", "OPT008", "OPT009", "GEN002")
#: A loss that tells it wrongly: the run is spoilt in any of these ways.
SPOILT = (*STUCK, "OPT002", "OPT003", "OPT004", "SIG003", "SIG004")
#: Units without a slope: nothing reaches what lies before them.
CUT_OFF = (
    "SIG001",
    "SIG005",
    "SIG006",
    "OPT002",
    "OPT005",
    "OPT006",
    "OPT007",
    "OPT008",
    "OPT009",
    "GEN002",
)
#: Signals of the wrong scale, whether inputs or weights made them so.
ILL_SCALED = (
    "INI001",
    "SIG001",
    "SIG002",
    "SIG003",
    "SIG004",
    "SIG005",
    "SIG006",
    "OPT001",
    "OPT003",
    "OPT004",
    "OPT005",
    "OPT006",
    "OPT007",
    "OPT008",
    "OPT009",
    "OPT010",
    "NUM001",
    "GEN001",
    "GEN002",
)
