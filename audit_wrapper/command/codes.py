"""What an exit code means, to scripts."""

FINE, DIFFERS, WRONG, AWAY, BROKEN_OFF = 0, 1, 2, 3, 130
PROG = "audit-wrapper"

CODES = """
Exit codes:

0 fine;
1 something differs, is open, or is wrong with the trail: it is printed;
2 wrong usage or settings, or nothing of that name;
3 the database or the exchange cannot be reached or used;
130 broken off (Ctrl-C, SIGTERM): what was done is kept, the next run goes on.
"""
