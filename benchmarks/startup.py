"""Time to compose a run, and to plan a finished one, compared with only importing Hydra.

    python benchmarks/startup.py [--rounds 7]

Goal: at most three times the import, and torch is not imported.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

from measure import Row, in_turns, keep, run

SMALL = ["task.num_train=8", "task.num_validation=4", "task.num_test=4", "experiment=none", "teacher=reference", "compression=none", "tracking=none"]
SMALL += ["trainer.max_epochs=1", "evaluation.latency=false", "evaluation.max_new_tokens=16"]
KEPT = {"PYTHONDONTWRITEBYTECODE": ""}
"""Python keeps its bytecode, as it does by default and has done for the libraries."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as outputs:
        finished = [*SMALL, f"paths.outputs={outputs}"]
        run([sys.executable, "run.py", *finished], **KEPT)
        commands = {
            "import hydra": [sys.executable, "-c", "import hydra"],
            "compose": [sys.executable, "run.py", "--cfg", "job"],
            "plan": [sys.executable, "run.py", *finished, "plan=true"],
        }
        seconds, printed = in_turns({name: lambda command=command: run(command, **KEPT) for name, command in commands.items()}, options.rounds)
        for name in ("compose", "plan"):
            imported = run([sys.executable, "-X", "importtime", "-c", f"import sys, runpy; sys.argv = {commands[name][1:]!r}; {ENDS}"])
            loads_torch = "torch" in imported.split("modules:")[-1].split()
            ratio = seconds["import hydra"] / seconds[name]
            keep(Row(f"startup_{name}", "s", seconds[name], seconds["import hydra"], ratio, 1 / 3, bool(printed[name]) and not loads_torch, {}))


ENDS = "runpy.run_path('run.py', run_name='__main__'); print('modules:', *sys.modules)"

if __name__ == "__main__":
    main()
