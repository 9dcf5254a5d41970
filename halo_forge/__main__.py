"""`python -m halo_forge` is `halo-forge`."""

import sys

from halo_forge.cli import main

sys.exit(main())
