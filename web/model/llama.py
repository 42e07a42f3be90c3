"""A Llama as llama.cpp computes it (its `llama` architecture), small enough to train on a CPU."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Row lengths are multiples of 32, the block of Q8_0 and Q4_0."""

    vocabulary: int = 1024
    width: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 352
    context: int = 512
    epsilon: float = 1e-5
    rope_base: float = 10000.0


class RmsNorm(nn.Module):
    def __init__(self, width, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.weight


def rotations(shape, length):
    """Unit complex numbers [length, head / 2]: the original Llama's rotary embedding, of pairs of neighbours, which
    GGUF's `llama` expects."""
    size = shape.width // shape.heads
    angles = torch.outer(torch.arange(length).float(), shape.rope_base ** (-torch.arange(0, size, 2).float() / size))
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x, turns):
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turns).flatten(-2)


class Layer(nn.Module):
    """The names of the parts are those of GGUF's tensors: blk.N.NAME.weight."""

    def __init__(self, shape):
        super().__init__()
        self.heads = shape.heads
        linear = lambda columns, rows: nn.Linear(columns, rows, bias=False)
        self.attn_norm = RmsNorm(shape.width, shape.epsilon)
        self.attn_q = linear(shape.width, shape.width)
        self.attn_k = linear(shape.width, shape.width)
        self.attn_v = linear(shape.width, shape.width)
        self.attn_output = linear(shape.width, shape.width)
        self.ffn_norm = RmsNorm(shape.width, shape.epsilon)
        self.ffn_gate = linear(shape.width, shape.feed_forward)
        self.ffn_up = linear(shape.width, shape.feed_forward)
        self.ffn_down = linear(shape.feed_forward, shape.width)

    def forward(self, x, turns, mask):
        rows, length, width = x.shape
        size, count = width // self.heads, rows * self.heads
        split = lambda y: y.view(rows, length, self.heads, size).transpose(1, 2).reshape(count, length, size)
        y = self.attn_norm(x)
        q, k, v = rotate(split(self.attn_q(y)), turns), rotate(split(self.attn_k(y)), turns), split(self.attn_v(y))
        scores = torch.baddbmm(mask.expand(count, -1, -1), q, k.transpose(-1, -2), alpha=size ** -0.5)
        y = (scores.softmax(-1) @ v).view(rows, self.heads, length, size).transpose(1, 2)
        x = x + self.attn_output(y.reshape(rows, length, width))
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Llama(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.output_norm = RmsNorm(shape.width, shape.epsilon)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # The parts that add to the residual stream start smaller, by the number of additions (GPT-2's way).
                adds = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.02 if name.startswith("token") else
                                weight.shape[1] ** -0.5 * ((2 * shape.layers) ** -0.5 if adds else 1))

    def forward(self, tokens):
        """tokens [rows, length] → logits [rows, length, vocabulary]; the output matrix is the embedding's."""
        length = tokens.shape[1]
        turns = rotations(self.shape, length)
        mask = torch.full((length, length), float("-inf")).triu(1)
        x = self.token_embd(tokens)
        for layer in self.blk:
            x = layer(x, turns, mask)
        return F.linear(self.output_norm(x), self.token_embd.weight)
