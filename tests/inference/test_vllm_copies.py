"""What a user reads when vLLM fails. How copies work is tested in test_vllm.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotexp.inference import vllm_copies

LOG = """
(MainProcess pid=7) INFO 11-29 12:12:40 [utils.py:1] loading
(Worker pid=9) ERROR 11-29 12:12:49 [multiproc_executor.py:1063] WorkerProc hit an exception.
(Worker pid=9) ERROR 11-29 12:12:49 [multiproc_executor.py:1063] Traceback (most recent call last):
(Worker pid=9) ERROR 11-29 12:12:49 [multiproc_executor.py:1063]   File "worker.py", line 1, in execute_model
(Worker pid=9) ERROR 11-29 12:12:49 [multiproc_executor.py:1063]     raise RuntimeError("this is code")
(Worker pid=9) ERROR 11-29 12:12:49 [multiproc_executor.py:1063] {cause}
(EngineCore pid=8) ERROR 11-29 12:12:50 [core.py:1512] RuntimeError: Worker failed, please check the stack trace above for the root cause
vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.
"""


@pytest.mark.parametrize("cause", ["RuntimeError: Unsupported CPU attention configuration: head_dim=8", "ValueError: No memory"])
@pytest.mark.parametrize("module", ["", "torch."])
def test_the_first_error_of_the_child_processes_is_the_cause(tmp_path: Path, cause: str, module: str) -> None:
    log = tmp_path / "log"
    log.write_text(LOG.format(cause=module + cause))
    assert vllm_copies._cause(log) == cause


def test_a_log_without_errors_of_child_processes_has_no_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("(EngineCore pid=8) INFO 11-29 12:12:50 [core.py:1] no ValueError: here\nValueError: of the copy itself\n")
    assert vllm_copies._cause(log) is None


def test_a_reason_is_one_short_line() -> None:
    assert vllm_copies.shortened_reason("1 validation error\n  Value error, too long\n") == "1 validation error Value error, too long"
    assert len(vllm_copies.shortened_reason("word " * 1000)) < 310
