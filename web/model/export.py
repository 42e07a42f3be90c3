"""Writes a checkpoint as GGUF files: export.py CORPUS CHECKPOINT FOLDER → FOLDER/stories-{bf16,q8_0,q4_0}.gguf

Matrices at the file's precision, norms in float32, as llama.cpp's own converter does it. The format: GGUF version 3,
github.com/ggml-org/ggml/blob/master/docs/gguf.md."""

import argparse
import json
import os
import struct

import numpy
import torch

import precisions
from llama import Shape

ALIGNMENT = 32
F32 = 0
# Name: ggml_type of the matrices, general.file_type, and how they are made from BF16's values (None: BF16 itself).
FORMATS = {"bf16": (30, 32, None), "q8_0": (8, 7, precisions.q8_0), "q4_0": (2, 2, precisions.q4_0)}
# GGUF's metadata value types.
U32, FLOAT, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    if kind == STRING:
        return string(content)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], content)


def entry(key, kind, content):
    if isinstance(content, list):
        head = struct.pack("<IIQ", ARRAY, kind, len(content))
        return string(key) + head + b"".join(value(kind, item) for item in content)
    return string(key) + struct.pack("<I", kind) + value(kind, content)


def metadata(shape, vocabulary, file_type):
    entries = [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "qstore stories"),
        ("general.description", STRING, "Little stories by a grammar; the demo model of qstore, trained by the project itself"),
        ("general.license", STRING, "mit"),
        ("general.file_type", U32, file_type),
        ("general.quantization_version", U32, 2),
        ("llama.context_length", U32, shape.context),
        ("llama.embedding_length", U32, shape.width),
        ("llama.block_count", U32, shape.layers),
        ("llama.feed_forward_length", U32, shape.feed_forward),
        ("llama.attention.head_count", U32, shape.heads),
        ("llama.attention.head_count_kv", U32, shape.heads),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT, shape.epsilon),
        ("llama.rope.dimension_count", U32, shape.width // shape.heads),
        ("llama.rope.freq_base", FLOAT, shape.rope_base),
        ("llama.vocab_size", U32, shape.vocabulary),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", STRING, vocabulary["pieces"]),
        ("tokenizer.ggml.scores", FLOAT, vocabulary["scores"]),
        ("tokenizer.ggml.token_type", I32, vocabulary["types"]),
        ("tokenizer.ggml.unknown_token_id", U32, 0),
        ("tokenizer.ggml.bos_token_id", U32, 1),
        ("tokenizer.ggml.eos_token_id", U32, 2),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.ggml.add_eos_token", BOOL, False),
        ("tokenizer.ggml.add_space_prefix", BOOL, True),
    ]
    return entries


def tensor_data(weight, form):
    """The type and bytes of a tensor in a file of that format."""
    if weight.ndim == 1:
        return F32, weight.tobytes()
    kind, _, quantize = FORMATS[form]
    data, values = precisions.bf16(weight)
    return kind, quantize(values)[0] if quantize else data


def padding(size):
    return bytes(-size % ALIGNMENT)


def write(path, shape, vocabulary, weights, form):
    entries = metadata(shape, vocabulary, FORMATS[form][1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(entries)) + b"".join(entry(*one) for one in entries)
    body = bytearray()
    for name, weight in weights.items():
        kind, data = tensor_data(weight, form)
        # GGUF names the fastest dimension first.
        sizes = weight.shape[::-1]
        head += string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, len(body))
        body += data + padding(len(data))
    with open(path, "wb") as file:
        file.write(head + padding(len(head)) + body)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("checkpoint")
    parser.add_argument("folder")
    args = parser.parse_args()
    with open(f"{args.corpus}/vocabulary.json", encoding="utf-8") as file:
        vocabulary = json.load(file)
    weights = {name: numpy.ascontiguousarray(weight.numpy(), "<f4") for name, weight in torch.load(args.checkpoint).items()}
    os.makedirs(args.folder, exist_ok=True)
    for form in FORMATS:
        path = f"{args.folder}/stories-{form}.gguf"
        write(path, Shape(vocabulary=len(vocabulary["pieces"])), vocabulary, weights, form)
        print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
