"""Shared pieces: a random small model as an ordinary folder, and a home without keys, caches or network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cotexp.settings import ScratchModel
from cotexp.task_settings import StoriesTask
from cotexp.tasks import QuestionSets, load_questions, prompt_for

ROOT = Path(__file__).resolve().parent.parent

os.environ.update(HF_HUB_OFFLINE="1", WANDB_SILENT="true", MPLBACKEND="Agg", TOKENIZERS_PARALLELISM="false")
for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "COTEXP_DATA"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def small_task() -> StoriesTask:
    return StoriesTask(num_train=40, num_validation=8, num_test=16)


@pytest.fixture(scope="session")
def small_questions(small_task: StoriesTask) -> QuestionSets:
    return load_questions(small_task)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, small_task: StoriesTask, small_questions: QuestionSets) -> Path:
    """A transformers folder with a chat template and random weights (2 layers of width 32)."""
    from cotexp.models import scratch

    folder = tmp_path_factory.mktemp("models") / "random"
    texts = [text for each in small_questions.train for text in (prompt_for(small_task, each), *each.references)]
    scratch.make(ScratchModel(hidden_size=32, intermediate_size=64, num_layers=2), texts, folder)
    return folder
