"""`python -m hingfs` is `hingfs`."""

import sys

from .cli import main

sys.exit(main())
