"""`python -m audit_wrapper`: see `command`."""

import sys

from audit_wrapper.command import main

if __name__ == "__main__":
    sys.exit(main())
