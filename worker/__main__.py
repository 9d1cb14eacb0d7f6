"""`python -m worker` is `dataimportcron`."""

import sys

from worker.cli import main

sys.exit(main())
