"""Perplexity on the held-out stories at each precision: evaluate.py CORPUS CHECKPOINT [--stories N]"""

import argparse

import numpy
import torch
from torch.nn import functional as F

import precisions
from llama import Llama, Shape

BEGIN, ROWS = 1, 16


def at_precision(weights, quantize):
    """The checkpoint with its matrices as a file of that precision gives them back; None: as trained."""
    def convert(weight):
        if weight.dim() == 1 or quantize is None:
            return weight
        values = precisions.bf16(weight.numpy())[1]
        return torch.from_numpy(values if quantize is precisions.bf16 else quantize(values)[1])
    return {name: convert(weight) for name, weight in weights.items()}


@torch.no_grad()
def loss(model, stories):
    """Nats a token, over every token after the begin."""
    total = count = 0
    for i in range(0, len(stories), ROWS):
        rows = stories[i:i + ROWS]
        batch = torch.full((len(rows), max(map(len, rows))), -100)
        for row, story in zip(batch, rows):
            row[:len(story)] = torch.from_numpy(story)
        logits, wanted = model(batch[:, :-1].clamp(min=0)), batch[:, 1:]
        total += F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum").item()
        count += (wanted != -100).sum().item()
    return total / count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("checkpoint")
    parser.add_argument("--stories", type=int, default=1000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokens = numpy.fromfile(f"{args.corpus}/heldout.u16", "<u2").astype("int64")
    stories = numpy.split(tokens, numpy.flatnonzero(tokens == BEGIN)[1:])
    stories = sorted(stories[:args.stories], key=len)
    weights = torch.load(args.checkpoint)
    model = Llama(Shape(vocabulary=len(weights["token_embd.weight"])))
    forms = {"float32": None, "BF16": precisions.bf16, "Q8_0": precisions.q8_0, "Q4_0": precisions.q4_0}
    for name, quantize in forms.items():
        model.load_state_dict(at_precision(weights, quantize))
        nats = loss(model.eval(), stories)
        print(f"{name}: {nats:.4f} nats a token, perplexity {numpy.exp(nats):.3f}", flush=True)


if __name__ == "__main__":
    main()
