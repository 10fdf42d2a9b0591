"""Speed of a training step, compared with the usual one (a random padded batch with logits at every position).

    python benchmarks/training.py [--steps 20] [--batch-size 32]

Both use the same model, examples and global batch. Prints seconds per step, their ratio, and the largest difference of the losses.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from cotexp.models import identity, loading
from cotexp.models.encoding import Encoder
from cotexp.settings.models import PretrainedModel
from cotexp.settings.training import Trainer
from cotexp.tasks import StoriesTask, load_questions, prompt_for
from cotexp.training.data import EncodedExample, collate, plan_batches
from cotexp.training.modules import supervised_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="shipped:tiny")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    settings = PretrainedModel(path=options.model)
    model, tokenizer = loading.load_trainable(identity.find(settings).folder, settings)
    loading.add_compress_token(model, tokenizer, "<compress>")
    encoder = Encoder.of(tokenizer, compress_token="<compress>")
    task = StoriesTask(num_train=options.steps * options.batch_size // 2)
    examples = [
        EncodedExample(encoder.example(prompt_for(task, each), each.references[level], compressed=level > 0), "compress" if level else "full")
        for each in load_questions(task).train
        for level in (0, 8)
    ]
    trainer = Trainer(batch_size=options.batch_size, max_epochs=1, num_validations=1)
    plan = plan_batches([len(each.encoded.ids) for each in examples], trainer, seed=0)

    def ours(step: int) -> float:
        total = 0.0
        supervised = sum(sum(examples[i].encoded.loss_mask) for i in plan.global_batches[step])
        for indices in plan.micro_batches(step, 0):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = supervised_loss(model, collate([examples[i] for i in indices], 0, supervised)).total / supervised
            loss.backward()
            total += loss.item()
        return total

    def usual(step: int) -> float:
        batch = collate([examples[i] for i in plan.global_batches[step]], 0, 1)
        labels = batch.ids_BT.masked_fill(~batch.supervised_BT, -100)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=batch.ids_BT, attention_mask=batch.attention_BT, labels=labels, use_cache=False).loss
        loss.backward()
        return loss.item()

    for _ in range(2):
        our_losses, our_seconds = timed(model, ours, options.steps)
        their_losses, their_seconds = timed(model, usual, options.steps)
    difference = max(abs(one - other) for one, other in zip(our_losses, their_losses, strict=True))
    print(f"{options.model}, bf16 autocast, {torch.get_num_threads()} threads, global batch {options.batch_size}, second of two rounds")
    print(f"cotexp step  {our_seconds:6.3f} s")
    print(f"usual step   {their_seconds:6.3f} s   ratio {their_seconds / our_seconds:.2f}")
    print(f"largest difference of losses {difference:.1e}")


def timed(model: torch.nn.Module, step: Callable[[int], float], steps: int) -> tuple[list[float], float]:
    started, losses = time.perf_counter(), []
    for number in range(steps):
        model.zero_grad()
        losses.append(step(number))
    return losses, (time.perf_counter() - started) / steps


if __name__ == "__main__":
    main()
