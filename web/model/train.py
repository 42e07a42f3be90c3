"""Trains the stories model: train.py CORPUS CHECKPOINT [--steps N] [--minutes N]

CORPUS is a folder written by corpus.js. The learning rate rises for the first steps and then falls to zero over
--steps or --minutes, whichever ends first. Two processes of one thread each (OMP_NUM_THREADS=1) share a step's rows:
faster than two threads in one, for which the matrices are too small."""

import argparse
import json
import math
import time

import numpy
import torch
from torch import multiprocessing
from torch.nn import functional as F

from llama import Llama, Shape
from muon import Muon

WORKERS, ROWS, LENGTH = 2, 8, 256
WARM_UP, ADAM_RATE, MUON_RATE, DECAY = 100, 4e-3, 0.02, 0.1
BEGIN = 1


def windows(tokens, generator):
    """Shuffled rows for one worker, each from the begin of a story: positions in training are those of use."""
    starts = numpy.flatnonzero(tokens == BEGIN)
    starts = starts[starts + LENGTH + 1 <= len(tokens)]
    while True:
        order = generator.permutation(starts)
        for i in range(0, len(order) - ROWS + 1, ROWS):
            yield torch.from_numpy(numpy.stack([tokens[at:at + LENGTH + 1] for at in order[i:i + ROWS]]).astype("int64"))


def optimizers(named):
    """Muon for the layers' matrices, AdamW for the embedding (also the output matrix) and the norms."""
    inner = [weight for name, weight in named if weight.dim() == 2 and name.startswith("blk")]
    table = [weight for name, weight in named if weight.dim() == 2 and not name.startswith("blk")]
    norms = [weight for _, weight in named if weight.dim() == 1]
    groups = [{"params": table, "weight_decay": DECAY}, {"params": norms, "weight_decay": 0.0}]
    made = [torch.optim.AdamW(groups, lr=ADAM_RATE, betas=(0.9, 0.95)), Muon(inner, MUON_RATE, weight_decay=DECAY)]
    return [(optimizer, [group["lr"] for group in optimizer.param_groups]) for optimizer in made]


def work(rank, model, gradients, barrier, clock, args):
    """A worker adds up the gradients of all workers' rows for its share of the tensors and updates those, in memory
    that all share."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    named = list(model.named_parameters())
    share = named[rank::WORKERS]
    steps_of = optimizers(share)
    batches = windows(numpy.fromfile(f"{args.corpus}/train.u16", "<u2"), numpy.random.default_rng(rank + 1))
    started, mean = time.time(), None
    for step in range(args.steps):
        if rank == 0:
            clock[0] = (time.time() - started) / 60
        batch = next(batches)
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        model.zero_grad(set_to_none=True)
        loss.backward()
        for name, weight in named:
            gradients[rank][name].copy_(weight.grad)
        barrier.wait()
        done = max(step / args.steps, clock[0].item() / args.minutes)
        if done >= 1:
            break
        rate = min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
        for name, weight in share:
            weight.grad = sum(gradients[other][name] for other in range(WORKERS)) / WORKERS
        for optimizer, rates in steps_of:
            for group, full in zip(optimizer.param_groups, rates):
                group["lr"] = full * rate
            optimizer.step()
        mean = loss.item() if mean is None else 0.97 * mean + 0.03 * loss.item()
        barrier.wait()
        if rank == 0 and step % 100 == 99:
            print(f"step {step + 1}, {(step + 1) * WORKERS * ROWS * LENGTH} tokens, {clock[0]:.1f} min, loss {mean:.4f}", flush=True)
            torch.save(model.state_dict(), args.checkpoint)
    if rank == 0:
        torch.save(model.state_dict(), args.checkpoint)
        print(f"done after {(time.time() - started) / 60:.1f} min, loss {mean:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("checkpoint")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=math.inf)
    args = parser.parse_args()
    torch.manual_seed(1)
    with open(f"{args.corpus}/vocabulary.json", encoding="utf-8") as file:
        model = Llama(Shape(vocabulary=len(json.load(file)["pieces"]))).share_memory()
    named = list(model.named_parameters())
    print(sum(weight.numel() for _, weight in named), "weights", flush=True)
    gradients = [{name: torch.zeros_like(weight).share_memory_() for name, weight in named} for _ in range(WORKERS)]
    clock = torch.zeros(1).share_memory_()
    barrier = multiprocessing.get_context("spawn").Barrier(WORKERS)
    multiprocessing.spawn(work, (model, gradients, barrier, clock, args), nprocs=WORKERS)


if __name__ == "__main__":
    main()
