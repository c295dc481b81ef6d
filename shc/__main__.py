"""`python -m shc` is the `shc` command."""

import sys

from shc.cli import main

sys.exit(main())
