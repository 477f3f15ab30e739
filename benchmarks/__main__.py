"""All benchmarks in turn, as the Markdown table of the README's performance section (`make bench`)."""

import argparse
import json
import subprocess
import sys

from benchmarks.measuring import ROOT, machine, progress

NAMES = ("ingest", "rating", "quota", "bill_run")


def run(name: str, quick: bool) -> dict[str, dict[str, object]]:
    """The figures of one script, run as its users run it."""
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--json", *(["--quick"] if quick else [])]
    progress(f"-- benchmarks/{name}.py")
    found: dict[str, dict[str, object]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {f"{name} {key}": value for key, value in found.items() if key != "machine"}


def number(value: object) -> str:
    assert isinstance(value, float | int)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, under 60 seconds each")
    quick = parser.parse_args().quick
    figures = {key: value for name in NAMES for key, value in run(name, quick).items()}
    print(f"Machine: {machine()}; load generator on the same machine.\n")
    print("| measured | figure | baseline of the same run | ratio | target | met |")
    print("|---|---:|---:|---:|---|---|")
    for key, f in figures.items():
        cells = (key, f"{number(f['figure'])} {f['unit']}", number(f["baseline"]), number(f["ratio"]), f["target"])
        print(f"| {' | '.join(map(str, cells))} | {'yes' if f['met'] else 'no'} |")


if __name__ == "__main__":
    main()
