"""`python -m hingfs` is `hingfs`."""

import sys

from .cli.main import main

sys.exit(main())
