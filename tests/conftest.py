"""Shared pieces: random small models as ordinary folders, and a home without keys, caches or network."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from cotexp.config import command_line, search_path
from cotexp.config.slots import SECTIONS
from cotexp.settings.models import ScratchModel
from cotexp.tasks import QuestionSets, StoriesTask, load_questions, prompt_for

ROOT = Path(__file__).resolve().parent.parent

os.environ.update(HF_HUB_OFFLINE="1", WANDB_SILENT="true", MPLBACKEND="Agg", TOKENIZERS_PARALLELISM="false")
for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "COTEXP_DATA", "COLUMNS"):
    os.environ.pop(name, None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; every process that the tests begin would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no core is left alone with one of them at the end. A set in a test's name is refused: its order
    differs from process to process, and processes that collect different names cannot share the tests.
    """
    sets = [item for item in items if (spec := getattr(item, "callspec", None)) for each in spec.params.values() if isinstance(each, set | frozenset)]
    if named := [item.nodeid for item in sets if "{" in item.name]:
        raise pytest.UsageError(f"give the parameters of {named[0]} ids that do not print a set")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """Hydra composes the same options of the same files once: it takes a quarter of a second, and hundreds of tests check a command line."""
    compose, composed = command_line.compose, dict[Any, Any]()

    def found(chosen: list[str], full: bool = False) -> Any:
        files = {path: path.stat().st_mtime_ns for folder in search_path.config_folders() for path in folder.rglob("*.yaml")}
        known = [(slot, *schema) for slot, schemas in SECTIONS.items() for schema in schemas.items()]
        key = (*chosen, full, *files.items(), *known)
        if key not in composed:
            composed[key] = compose(chosen, full)
        return copy.deepcopy(composed[key])

    command_line.compose = found
    yield
    command_line.compose = compose


@pytest.fixture(scope="session")
def small_task() -> StoriesTask:
    return StoriesTask(num_train=40, num_validation=8, num_test=16)


@pytest.fixture(scope="session")
def small_questions(small_task: StoriesTask) -> QuestionSets:
    return load_questions(small_task)


@pytest.fixture(scope="session")
def story_texts(small_task: StoriesTask, small_questions: QuestionSets) -> list[str]:
    """What small tokenizers learn from."""
    return [text for each in small_questions.train for text in (prompt_for(small_task, each), *each.references)]


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, small_task: StoriesTask, small_questions: QuestionSets) -> Path:
    """A transformers folder with a chat template and random weights (2 layers of width 32)."""
    from cotexp.models import scratch

    folder = tmp_path_factory.mktemp("models") / "random"
    texts = [text for each in small_questions.train for text in (prompt_for(small_task, each), *each.references)]
    scratch.make(ScratchModel(hidden_size=32, intermediate_size=64, num_layers=2), texts, folder)
    return folder


@pytest.fixture(scope="session")
def encoder_decoders(
    tmp_path_factory: pytest.TempPathFactory, small_task: StoriesTask, small_questions: QuestionSets, random_model: Path
) -> dict[str, Path]:
    """Folders of random encoder-decoder models: T5, whose head is its embedding; Flan-T5, with a head of its own and spare rows in its
    vocabulary; the same without spare rows; and BART, whose tokenizer begins a source with a token as well.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration, T5Tokenizer

    texts = [text for each in small_questions.train for text in (prompt_for(small_task, each), *each.references)]
    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    pieces.train_from_iterator([text.replace("\\boxed{", "#").replace("}", "") for text in texts], trainer)  # T5 knows neither brace nor backslash
    vocabulary = json.loads(pieces.to_str())["model"]["vocab"]
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in reversed(range(10))]
    t5_tokenizer = T5Tokenizer(vocab=[*map(tuple, vocabulary), *sentinels], extra_ids=10)
    shape: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    flan: dict[str, Any] = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    known, folders = len(t5_tokenizer), {}
    for name, own in {"t5": {"vocab_size": known}, "flan": {"vocab_size": known + 28, **flan}, "full": {"vocab_size": known, **flan}}.items():
        torch.manual_seed(0)
        model = T5ForConditionalGeneration(T5Config(**shape, **own))
        if name != "t5":
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.3)
            model.config.tie_word_embeddings = False
        folders[name] = tmp_path_factory.mktemp("models") / name
        model.save_pretrained(folders[name])
        t5_tokenizer.save_pretrained(folders[name])
    bart_tokenizer = AutoTokenizer.from_pretrained(random_model)
    bart_tokenizer.chat_template = None
    begin, end = "<|user|>", bart_tokenizer.eos_token
    ids = [(each, bart_tokenizer.convert_tokens_to_ids(each)) for each in (begin, end)]
    bart_tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin} $A {end}", special_tokens=ids)
    torch.manual_seed(0)
    layers = {
        f"{side}_{what}": number for side in ("encoder", "decoder") for what, number in {"layers": 2, "ffn_dim": 64, "attention_heads": 4}.items()
    }
    special = {"pad_token_id": bart_tokenizer.pad_token_id, "eos_token_id": ids[1][1], "decoder_start_token_id": ids[1][1]}
    folders["bart"] = tmp_path_factory.mktemp("models") / "bart"
    config = BartConfig(vocab_size=len(bart_tokenizer), d_model=32, max_position_embeddings=512, forced_eos_token_id=None, **layers, **special)
    BartForConditionalGeneration(config).save_pretrained(folders["bart"])
    bart_tokenizer.save_pretrained(folders["bart"])
    return folders


@pytest.fixture
def mounted() -> Callable[[Path, str], contextlib.AbstractContextManager[None]]:
    """Mounts a file system in memory on a folder for a block; skips the test where that is not allowed."""
    return _mounted


@contextlib.contextmanager
def _mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory at `folder`; skips the test where mounting is not allowed."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder named by COTEXP_DATA, else one beside the repository; tests that need it are skipped without."""
    named = os.environ.get("COTEXP_TEST_DATA") or os.environ.get("COTEXP_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the benchmark files: set COTEXP_DATA to their folder")
    return folder
