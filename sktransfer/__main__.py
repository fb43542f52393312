"""Run ``python -m sktransfer``; see sktransfer/shell."""

import sys

from sktransfer.shell.main import main

if __name__ == "__main__":
    sys.exit(main())
