"""How fast evidence is judged, beside merely reading it: the catalogue's own samples, as JSON lines.

Run with ``python -m benchmarks.classify``. Both sides read the same lines in the same process, in turns; the
figures are the medians and their ratio.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable

from mbi_reauth import catalogue
from mbi_reauth.cli.classify import Judge


def sample_lines(count: int) -> list[bytes]:
    """Make lines for ``classify`` from every sample of every packaged type, over and over."""
    entries = [
        {"integration_type": type_id, "evidence": sample.evidence.model_dump(mode="json", exclude_none=True)}
        for type_id, loaded in catalogue.load_all().items()
        for rule in loaded.model.rules
        for sample in rule.samples
    ]
    numbered = zip(range(count), itertools.cycle(entries), strict=False)
    return [json.dumps({"id": number, **entry}).encode() + b"\n" for number, entry in numbered]


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print lines a second of both sides, and how many times longer judging takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    lines = sample_lines(options.lines)
    judge = Judge()
    judged, read = [], []
    for _ in range(options.runs):
        judged.append(seconds(lambda: [judge.answer(line, 2) for line in lines]))
        read.append(seconds(lambda: [json.loads(line) for line in lines]))
    for name, timings in (("classify", judged), ("json.loads", read)):
        print(f"{name}: {options.lines / statistics.median(timings):,.0f} lines/s")  # noqa: T201
    print(f"ratio: {statistics.median(judged) / statistics.median(read):.1f}")  # noqa: T201


if __name__ == "__main__":
    main()
