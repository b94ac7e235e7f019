"""Run the command line: python -m imgsearch COMMAND."""

import sys

from imgsearch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
