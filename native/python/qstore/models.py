"""Packing models and unpacking archives."""

import os
from ctypes import byref, c_void_p, sizeof
from typing import NamedTuple, Optional

from ._library import (
    ON_DAMAGE, Work, call, library, path_bytes, qstore_pack_options, qstore_unpack_options, qstore_unpack_result, text_list)

QUANTIZERS = {None: 0, "llm.int8": 1, "q8_0": 2, "none": 3}


def pack(high, low=(), *, output, skip=None, beside=False, quantize=None, include=None, exclude=None, base=None, strict=False, allow_mismatch=False,
         force=False, progress=None, warn=None, threads=0):
    """Packs a model into an archive.

    high: a folder or file; low: its coarser versions, one path or a list from fine to coarse. skip: patterns
    of files to leave out; beside: take README and the like that are beside a model given as a file. quantize: the quantizer that
    makes the 8-bit version when there is no low ("llm.int8", "q8_0" or "none"). base: an earlier model. strict: tensors that
    do not fit are an error; allow_mismatch: models that do not belong together are packed all the same. progress: called
    with (phase, done, total) in bytes; an exception that it raises cancels the work. warn: called with a line.

    Raises QstoreError, and what the callbacks raise.
    """
    if quantize not in QUANTIZERS:
        raise ValueError(f"quantize {quantize}: give one of llm.int8, q8_0, none")
    lows = [low] if isinstance(low, (str, bytes)) or hasattr(low, "__fspath__") else list(low)
    work = Work(progress, warn, threads)
    options = qstore_pack_options(
        struct_size=sizeof(qstore_pack_options), high=path_bytes(high), low=path_bytes(lows[0]) if lows else None,
        lower=text_list(lows[1:]) if lows[1:] else None, skip=text_list(skip),
        beside=beside, output=path_bytes(output), force=force, quantize=QUANTIZERS[quantize],
        include=text_list(include), exclude=text_list(exclude), base=path_bytes(base), strict=strict,
        allow_mismatch=allow_mismatch, work=work.struct)
    work.call("qstore_pack", byref(options), None)


class Damage(NamedTuple):
    """Bytes of a file that could not be restored."""

    path: Optional[str]
    """The file that has the rest, with zeros for these bytes; None: nothing of it could be restored, and no file was made."""
    name: str
    """The path that the file would have had."""
    tensor: Optional[str]
    """The tensor that the bytes belong to; None: they are outside the tensors."""
    offset: int
    size: int
    reason: str
    """A line that names the damaged chunk or file."""


def unpack(archive, output, *, precision="high", base=None, files=None, tensors=None, as_f32=False, sha256=False, force=False,
           progress=None, warn=None, threads=0, digest=None, on_damage=None, hidden=False):
    """Restores the files of a variant into the folder output; gives their number and bytes.

    precision: the variant's name, "low", "high" or "all". files: names, in which '*' matches anything: only these. tensors:
    only the file tensors.safetensors of these tensors, and a file NAME.bin of the bytes of each one that is in blocks; output
    may then be a file in .safetensors, .npy or .bin. as_f32: makes blocks and floats of 8 and 16 bits F32. sha256: compares
    whole files too. digest: the archive's, by which all bytes are proved.

    hidden: restores files with hidden names (.NAME, .DIR/NAME) too, which are left out with a warning unless files has the name.

    on_damage: restores what is whole of a damaged or cut archive, and is called afterwards with a Damage for each range of bytes
    that could not be restored. A file that lacks bytes becomes NAME.damaged, with zeros for them.

    Raises QstoreError, and what the callbacks raise.
    """
    if archive is None or output is None:
        raise TypeError("the archive and the output are paths, not None")
    opened = c_void_p()
    result = qstore_unpack_result()
    work = Work(progress, warn, threads)
    call("qstore_open", path_bytes(archive), byref(opened))
    try:
        if digest is not None:
            call("qstore_pin", opened, digest.encode())
        if base is not None:
            call("qstore_set_base", opened, path_bytes(base))
        damages = []
        take = ON_DAMAGE(lambda _, each: damages.append(_damage(each.contents)))
        options = qstore_unpack_options(
            struct_size=sizeof(qstore_unpack_options), precision=precision.encode(), output=path_bytes(output), force=force,
            files=text_list(files), tensors=text_list(tensors), sha256=sha256, work=work.struct,
            keep_going=on_damage is not None, on_damage=take, hidden=hidden, **({"as": b"f32"} if as_f32 else {}))
        work.call("qstore_unpack", opened, byref(options), byref(result))
    finally:
        library.qstore_close(opened)
    for damage in damages:
        on_damage(damage)
    return result.n_files, result.size


def _damage(each):
    texts = [None if text is None else os.fsdecode(text) for text in (each.path, each.name, each.tensor)]
    return Damage(*texts, each.offset, each.size, each.reason.decode(errors="replace"))
