"""What a DAG file pays for the gate: fresh processes, side by side, reported as milliseconds and a ratio.

Run with ``python -m benchmarks.import_cost``. The baseline is ``import airflow.sdk``, which every DAG file
and every task pays anyway.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

BASELINE = "import airflow.sdk"
CASES = {
    "airflow.sdk alone": "",
    "the package": "import mbi_reauth",
    "the plugin, as Airflow loads it": "import mbi_reauth.airflow_plugin",
    "the gate, as a DAG file imports it": "from mbi_reauth.gate import authorized",
    "Airflow's own FileSensor, for comparison": (
        "from airflow.providers.standard.sensors.filesystem import FileSensor"
    ),
}
TIMER = "import time; {first}; start = time.perf_counter(); {second}; print(time.perf_counter() - start)"


def seconds(first: str, second: str) -> float:
    """Time ``second`` after ``first`` in a new process."""
    program = TIMER.format(first=first, second=second or "pass")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    return float(run.stdout.split()[-1])


def main() -> None:
    """Print the median cost of each case on top of the baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = range(parser.parse_args().runs)
    timings: dict[str, list[float]] = {name: [] for name in CASES}
    baseline = []
    for _ in runs:
        baseline.append(seconds("pass", BASELINE))
        for name, case in CASES.items():
            timings[name].append(seconds(BASELINE, case))
    base = statistics.median(baseline)
    print(f"{BASELINE}: {base * 1000:.0f} ms")  # noqa: T201
    for name, values in timings.items():
        median = statistics.median(values)
        print(f"{name}: {median * 1000:.1f} ms more, ratio {median / base:.3f}")  # noqa: T201


if __name__ == "__main__":
    main()
