"""How large a selector may be, so that no caller can overload the database or this process."""

MAX_TEXT = 100_000  # characters of JSON
MAX_DEPTH = 8  # $and, $or, $nor, $not and $elemMatch inside each other
MAX_SEGMENTS = 8  # of a dotted path
MAX_INDEXES = 2  # segments of a dotted path that may be array indexes: each doubles the ways to walk it
MAX_IN = 1000  # values of one $in, $nin or $all
MAX_LITERAL_DEPTH = 8  # arrays and objects inside each other in an operand
MAX_PATTERN = 1000  # characters of a regular expression
MAX_WEIGHT = 300  # comparisons in its SQL, whatever each costs
MAX_NESTING = 96  # symbols on the stack of SQLite's parser, which gives up at 100
MAX_SECONDS = 20.0  # by the estimate of `cost` for a million users
