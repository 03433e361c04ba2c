"""`advisor calibrate`: fit the efficiency coefficients to measured speeds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from advisor.catalog import load_catalog
from advisor.catalog.errors import UnsupportedError
from advisor.commands.validate_text import ablation_text, summary_text
from advisor.evidence.ablation_file import append_ablation, start_ablations
from advisor.evidence.truth import THROUGHPUT_FILE, read_throughput
from advisor.sizing.efficiency import CALIBRATION_FILE

__all__ = ["HELP", "add_arguments", "run"]

HELP = "fit the efficiency coefficients to measured speeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--throughput", type=Path, default=THROUGHPUT_FILE, metavar="CSV", help="measured speeds")
    parser.add_argument("--write", action="store_true", help="replace calibration.yaml and held_out.csv in data/")
    parser.add_argument("--out", type=Path, default=CALIBRATION_FILE, metavar="YAML", help="where --write puts it")
    parser.add_argument(
        "--ablate",
        action="store_true",
        help="scores with and without each kind of term (long); with --write also kept in data/truth/ablation.csv",
    )


def run(arguments: argparse.Namespace) -> int:
    try:
        from advisor.evidence.ablation import ablations
        from advisor.evidence.calibrate import HELD_OUT_FILE, calibrate, write_calibration, write_held_out
    except ModuleNotFoundError as problem:
        raise UnsupportedError(f"the fit needs {problem.name}: pip install -r requirements-fit.txt") from problem
    rows, missing = read_throughput(arguments.throughput, load_catalog())
    if arguments.ablate:
        if arguments.write:
            start_ablations()
        for item in ablations(rows):
            if arguments.write:
                append_ablation(item.left_out, item.scheme, item.summary)
            sys.stdout.write(ablation_text(item.left_out, item.scheme, item.summary))
            sys.stdout.flush()
        return 0
    calibration = calibrate(rows)
    sys.stdout.writelines(f"not predicted: {row.id}: {row.reason}\n" for row in missing)
    for scheme, summary in calibration.summaries().items():
        sys.stdout.write(summary_text(f"cross-validated by {scheme}", summary))
    if arguments.write:
        write_calibration(calibration, arguments.out, arguments.throughput.name)
        held_out = HELD_OUT_FILE if arguments.out == CALIBRATION_FILE else arguments.out.with_name(HELD_OUT_FILE.name)
        write_held_out(calibration, held_out)
        sys.stdout.write(f"wrote {arguments.out} and {held_out}\n")
    return 0
