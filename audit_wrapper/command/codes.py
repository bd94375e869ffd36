"""What an exit code means, to scripts."""

FINE, DIFFERS, WRONG, AWAY, BROKEN_OFF = 0, 1, 2, 3, 130
PROG = "audit-wrapper"

# \b: as it stands, not wrapped into a paragraph
CODES = """\b
Exit codes:
  0    fine
  1    something differs, is open, or is wrong with the trail: it is printed
  2    wrong usage or settings, or nothing of that name
  3    the database, the exchange or the journal is away, or in use
  130  broken off (Ctrl-C, SIGTERM); the next run goes on
With --json stdout holds whole JSON or nothing. Nothing: it could not be done, and
stderr says why. [] with code 2: it was done, and there is no row like that.
"""
