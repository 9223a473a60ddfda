"""The benchmarks read the loaders' output rightly, their tables and plot are well-formed, and they run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from xml.etree import ElementTree

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks import report
from benchmarks.__main__ import DOCS
from benchmarks.figures import CPU, P99, RATE, Figure, Result, medians
from benchmarks.loads import parse_ab, parse_wrk
from benchmarks.rows import all_rows
from benchmarks.servers import BenchmarkError, Program, find_etcd
from benchmarks.watchers import allow_connections
from tests.documents import CHECKOUT

MEMORY = Figure("memory, MiB")

WRK = """Running 1s test @ http://127.0.0.1:4001/
  1 threads and 32 connections
Requests/sec:  20000.00

{"requests": 30000, "seconds": 1.500000, "p99": 2.125000, "errors": 0}
"""

AB = """Server Software:
Concurrency Level:      16
Time taken for tests:   2.000 seconds
Complete requests:      5000
Failed requests:        0
Requests per second:    2500.50 [#/sec] (mean)
"""
AB_TABLE = "Percentage served,Time in ms\n0,0.100\n98,3.500\n99,4.250\n100,90.000\n"


def result(name: str, ours: tuple[float, float, float], theirs: tuple[float, float, float]) -> Result:
    """A row of requests: rates, p99s and CPU of both."""
    both = {"txetcd": ours, "etcd": theirs}
    return Result(name, {x: dict(zip((RATE, P99, CPU), v, strict=True)) for x, v in both.items()})


class FiguresTests(SynchronousTestCase):
    def test_medians(self) -> None:
        rounds = [{RATE: 1.0, CPU: 30.0}, {RATE: 5.0, CPU: 10.0}, {RATE: 2.0, CPU: 20.0}]
        self.assertEqual(medians(rounds), {RATE: 2.0, CPU: 20.0})

    def test_ratios_over_one_are_good(self) -> None:
        row = result("GET", (300.0, 1.0, 20.0), (100.0, 4.0, 10.0))
        self.assertEqual([row.ratio(figure) for figure in row.figures], [3.0, 4.0, 0.5])

    def test_nothing_to_divide_by(self) -> None:
        row = Result("GET", {"a": {CPU: 0.0}, "b": {CPU: 1.0}})
        self.assertEqual(row.ratio(CPU), float("inf"))


class LoadsTests(SynchronousTestCase):
    def test_wrk(self) -> None:
        self.assertEqual(parse_wrk(WRK), (30000, {RATE: 20000.0, P99: 2.125}))

    def test_wrk_errors(self) -> None:
        for output in (WRK.replace('"errors": 0', '"errors": 3'), WRK.replace("30000", "0")):
            self.assertRaises(BenchmarkError, parse_wrk, output)

    def test_ab(self) -> None:
        self.assertEqual(parse_ab(AB, AB_TABLE), (5000, {RATE: 2500.5, P99: 4.25}))

    def test_ab_handshakes(self) -> None:
        self.assertRaises(BenchmarkError, parse_ab, "SSL handshake failed (1).\n" + AB, AB_TABLE)

    def test_ab_errors(self) -> None:
        for output in (
            AB + "Non-2xx responses:      5000\n",
            AB.replace("requests:        0", "requests:        1"),
            "",
        ):
            self.assertRaises(BenchmarkError, parse_ab, output, AB_TABLE)
        self.assertRaises(BenchmarkError, parse_ab, AB, "")


class ReportTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        numbers = [report.number(value) for value in (0.123, 9.876, 12.34, 123.4, 1234567.0)]
        self.assertEqual(numbers, ["0.123", "9.88", "12.3", "123", "1,234,567"])

    def test_tables(self) -> None:
        requests = [
            result("GET", (300.0, 1.0, 20.0), (100.0, 4.0, 10.0)),
            result("PUT", (3, 1, 2), (1, 4, 1)),
        ]
        other = Result("restart", {"txetcd": {MEMORY: 50.0}, "etcd": {MEMORY: 100.0}})
        itself = Result(
            "GET of any", {"many": dict(requests[0].sides["txetcd"]), "few": dict(requests[0].sides["etcd"])}
        )
        tables = report.markdown([*requests, other, itself]).split("\n\n")
        self.assertEqual([len(table.splitlines()) for table in tables], [4, 3, 3])
        for table in tables:
            self.assertEqual(len({line.count("|") for line in table.splitlines()}), 1)
        self.assertIn(
            "| GET | 300 | 100 | **3.00** | 1.00 | 4.00 | **4.00** | 20.0 | 10.0 | **0.50** |", tables[0]
        )
        self.assertIn("| restart | memory, MiB | 50.0 | 100 | **2.00** |", tables[1])
        self.assertIn("requests/s: many", tables[2])

    def test_lines(self) -> None:
        text = report.lines(result("GET", (300.0, 1.0, 20.0), (100.0, 4.0, 10.0)))
        self.assertRegex(text, r"\AGET\n  requests/s +txetcd +300 +etcd +100 +ratio 3\.00\n")

    def test_insert(self) -> None:
        document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        once = report.insert(document, "new")
        self.assertEqual(once, f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")
        self.assertEqual(report.insert(once, "new"), once)

    def test_insert_where_there_are_no_marks(self) -> None:
        for document in ("", report.BEGIN, report.END):
            self.assertRaises(ValueError, report.insert, document, "new")

    def test_plot(self) -> None:
        rows = [
            result("GET & more", (300.0, 1.0, 20.0), (100.0, 4.0, 10.0)),
            Result("restart", {"txetcd": {}, "etcd": {}}),
        ]
        root = ElementTree.fromstring(report.plot(rows))
        bars = {bar.get("class"): float(bar.get("width", 0)) for bar in root.findall("{*}rect")}
        self.assertEqual(set(bars), {"rate", "cpu"})
        self.assertAlmostEqual(bars["rate"] / bars["cpu"], 6.0, places=1)
        self.assertIn("GET & more", [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")])


class DocumentTests(SynchronousTestCase):
    def test_it_has_a_place_for_the_figures(self) -> None:
        report.insert((DOCS / "performance.md").read_text("utf-8"), "")

    def test_the_plot_is_well_formed(self) -> None:
        ElementTree.parse(DOCS / "performance.svg")


class CommandTests(SynchronousTestCase):
    def test_names_are_those_of_one_row_each(self) -> None:
        program = Program("txetcd", lambda *_: [])
        names = [row.name for row in all_rows(program, Program("etcd", program.command), 1_000_000, 3)]
        self.assertEqual(len(set(names)), len(names))

    def test_too_many_connections(self) -> None:
        self.assertRaises(BenchmarkError, allow_connections, 10**12)

    def test_it_runs(self) -> None:
        binary = find_etcd()
        for name, found in (("wrk", shutil.which("wrk")), ("ab", shutil.which("ab")), ("etcd", binary)):
            if found is None:
                raise SkipTest(f"{name} is not installed")
        ended = self.run_benchmarks("--rounds=1", "--seconds=1", "--keys=1000", "--rows=PUT, 32 connections")
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        for figure in (RATE, P99, CPU):
            self.assertRegex(
                ended.stdout, rf"(?m)^  {figure.name} +txetcd +[\d.,]+ +etcd +[\d.,]+ +ratio [\d.]+$"
            )

    def test_wrong_options(self) -> None:
        for words, said in ((["--keys=1"], "--keys"), (["--write", "--rows=GET*"], "--write")):
            ended = self.run_benchmarks(*words)
            self.assertEqual(ended.returncode, 2)
            self.assertIn(said, ended.stderr)

    def run_benchmarks(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *words],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=60,
        )
