"""What is told while it runs."""

import sys
import time

_began = time.monotonic()


def say(line: str) -> None:
    """Tells on standard error how far it is; standard output has the table and nothing else."""
    print(f"peers: {time.monotonic() - _began:6.0f} s  {line}", file=sys.stderr, flush=True)
