"""``python -m wsi_segment.service`` is the command line."""

import sys

from wsi_segment.service.cli.main import main

sys.exit(main())
