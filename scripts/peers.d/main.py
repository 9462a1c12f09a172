"""The entry of scripts/peers."""

import sys

from peers.main import main

sys.exit(main())
