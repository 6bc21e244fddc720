"""``python -m wsi_segment.service`` is the command line."""

import sys

from wsi_segment.service.cli.main import main

if __name__ == "__main__":  # processes that the server starts load this file too
    sys.exit(main())
