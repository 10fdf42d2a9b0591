"""`cotexp NAME`: the commands beside run.py."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cotexp.commands import USER_ERRORS


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="cotexp", description="Commands beside `python run.py`.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    encode = commands.add_parser("encode", help="print encoded training examples; supervised tokens are coloured")
    encode.add_argument("overrides", nargs="*", help="settings as for run.py, such as model=tiny compression=macc")
    encode.add_argument("--questions", type=int, default=1, help="number of training questions to show (default 1)")
    export = commands.add_parser("export", help="write a run's fine-tuned model as an ordinary transformers folder with a model card")
    export.add_argument("run", help="a run's folder, or an experiment's name for its newest finished run")
    export.add_argument("folder", type=Path, help="where to write; must not exist or be an earlier export")
    export.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="number format of the weights")
    export.add_argument("--outputs", type=Path, default=Path("outputs"), help="folder of the store and of the runs (default outputs)")
    options = parser.parse_args(arguments)
    try:
        if options.command == "encode":
            from cotexp.commands.encode import print_encoded

            print_encoded(options.overrides, num_questions=options.questions)
        else:
            from cotexp.commands.export import export_model

            export_model(options.run, options.folder, dtype=options.dtype, outputs=options.outputs)
    except USER_ERRORS as error:
        sys.exit("\n".join(f"cotexp: {line}" for line in str(error).splitlines()))
