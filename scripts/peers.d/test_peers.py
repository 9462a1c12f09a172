"""What of scripts/peers can be tested without an engine: python3 -B scripts/peers.d/test_peers.py"""

import os
import sys
import tempfile
import time
import unittest
from pathlib import Path

from peers import options
from peers.engines import Variant
from peers.jobs import Row
from peers.main import order
from peers.processes import Process, stat, tree
from peers.report import HEADS, table

# A child that outlives its parent, and one that has ended after it took processor time.
FAMILY = """
import os, subprocess, sys, time
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.6: pass\\ntime.sleep(0.5)"])
if os.fork() == 0:
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""


def variant(engine: str) -> Variant:
    return Variant(engine, "1", "exactly-once", "as it comes", "plain", lambda run: None)  # type: ignore[arg-type, return-value]


class Processes(unittest.TestCase):
    def test_a_tree_is_measured_and_ended_whole_and_nothing_else(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bystander = Process([sys.executable, "-c", "import time; time.sleep(600)"], Path(folder) / "bystander")
            family = Process([sys.executable, "-c", FAMILY], Path(folder) / "family")
            grandchild = self._grandchild(family)
            self.assertGreaterEqual(family.meter.now().processor, 0.5)
            self.assertIn(grandchild, {s.pid for s in tree(family.child.pid)})
            family.end()
            self.assertIsNone(stat(grandchild))
            self.assertTrue(bystander.running())
            bystander.end()
            self.assertFalse(os.path.exists(f"/proc/{bystander.child.pid}"))

    @staticmethod
    def _grandchild(family: Process) -> int:
        while not family.log.read_text().strip():
            time.sleep(0.05)
        return int(family.log.read_text())

    def test_a_process_that_fails_tells_why(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with Process([sys.executable, "-c", "raise ValueError('no such topic')"], Path(folder) / "log") as process:
                while process.running():
                    time.sleep(0.05)
                self.assertEqual(process.why(), "ValueError: no such topic")


class Order(unittest.TestCase):
    def turns(self, *peers: str) -> list[str]:
        return [v.engine for v in order({name: [variant(name)] for name in ("cutwater", *peers)})]

    def test_cutwater_is_before_between_and_after(self) -> None:
        self.assertEqual(self.turns("a"), ["cutwater", "a", "cutwater"])
        self.assertEqual(self.turns("a", "b"), ["cutwater", "a", "cutwater", "b", "cutwater"])
        self.assertEqual(self.turns("a", "b", "c"), ["cutwater", "a", "b", "cutwater", "c", "cutwater"])


class Options(unittest.TestCase):
    def test_engines_and_rates_are_taken_in_any_order(self) -> None:
        given = options.parse(["--engines", "bytewax,flink", "--rates", "20000,5_000"])
        self.assertEqual(given.engines, ["flink", "bytewax"])
        self.assertEqual(given.rates, [5_000, 20_000])

    def test_what_is_wrong_is_refused(self) -> None:
        for wrong in (["--engines", "storm"], ["--rates", "0"], ["--records", "-1"], ["--cutwater", "/no/such"]):
            with self.assertRaises(SystemExit) as refused, open(os.devnull, "w") as quiet:
                sys.stderr, kept = quiet, sys.stderr
                try:
                    options.parse(wrong)
                finally:
                    sys.stderr = kept
            self.assertEqual(refused.exception.code, 2, wrong)


class Table(unittest.TestCase):
    ABOUT = {"date": "2026-01-01", "commit": "c", "cores": 2, "processor": "p", "memory_gb": 8, "kernel": "k", "kafka": "4"}

    def test_each_row_says_whether_it_is_right(self) -> None:
        right = Row("a", "1", "exactly-once", "x", "rate", 5_000, wrong_words=0, kept=True, p50_ms=3, idle_cores=1.0)
        late = Row("b", "1", "exactly-once", "y", "rate", 5_000, wrong_words=0, kept=False, behind_ms=2_500, idle_cores=0.0)
        failed = Row("c", "1", "exactly-once", "z", "drain", failed="it ended: no memory")
        self.assertEqual([row.right for row in (right, late, failed)], [True, True, False])
        lines = table([right, late, failed], self.ABOUT).splitlines()
        self.assertEqual(lines[2].split("  ")[0], HEADS[0])
        self.assertTrue(lines[3].endswith("  right"))
        self.assertTrue(lines[4].endswith("right; 2.5 s behind; the machine was full"))
        self.assertTrue(lines[5].endswith("FAILED: it ended: no memory"))
        self.assertIn("b 1, exactly-once: y", lines)


if __name__ == "__main__":
    unittest.main()
