"""Reading tensors: safe_open and load_file, in the habits of the package safetensors."""

import json
import threading
from contextlib import contextmanager
from ctypes import byref, c_char, c_uint32, c_void_p, cast, create_string_buffer

from ._library import (Work, call, library, path_bytes, qstore_archive_info, qstore_file_info,
                       qstore_tensor_info)
from .dtypes import array_of, item_size, memory


class _Tensor:
    """A tensor of the variant that is open."""

    def __init__(self, archive, number):
        info = qstore_tensor_info()
        library.qstore_get_tensor(archive, number, byref(info))
        self.number = number
        self.name = info.name.decode()
        self.file = info.file
        self.dtype = info.dtype.decode()
        self.size = info.size
        self.shape = [library.qstore_get_tensor_dim(archive, number, i) for i in range(info.n_dims)]


class TensorSlice:
    """A tensor of which parts are read: f.get_slice(name)[rows, columns]. Only the chunks that have the rows are decoded."""

    def __init__(self, owner, tensor):
        self._owner, self._tensor = owner, tensor

    def get_shape(self):
        return list(self._tensor.shape)

    def get_dtype(self):
        return self._tensor.dtype

    def get_size(self):
        """All bytes of the tensor."""
        return self._tensor.size

    def __getitem__(self, index):
        tensor = self._tensor
        index = index if isinstance(index, tuple) else (index,)
        rows = index[0] if index else slice(None)
        if not tensor.shape or rows is Ellipsis or rows is None or item_size(tensor.dtype) == 0:
            return self._owner.get_tensor(tensor.name, file=self._owner.file_name(tensor))[index]
        n = tensor.shape[0]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(n)
            first, last = (start, stop) if step > 0 else (stop + 1, start + 1)
            last = max(first, last)
            rest = slice(None) if step == 1 else slice(start - first if step < 0 else None, None, step)
            if last == first:
                rest = slice(0, 0)
        else:
            row = rows.__index__()
            if not -n <= row < n:
                raise IndexError(f"row {row} of tensor {tensor.name}, which has {n}")
            first, rest = row % n, 0
            last = first + 1
        row_size = tensor.size // n if n else 0
        data = self._owner.read(tensor, first * row_size, (last - first) * row_size)
        array = array_of(data, tensor.dtype, [last - first, *tensor.shape[1:]], self._owner.framework)
        return array[(rest, *index[1:])]


class safe_open:
    """An archive of which one variant's tensors are read.

    path: the archive, or its first part. framework: "np", or "pt" for PyTorch. device: "cpu"; it is there because safetensors
    has it. precision: the variant's name, "low" or "high". base: the model that the archive is a difference to. threads: that decode a tensor; 0: one for each core.
    digest: the archive's digest, "sha256-…": all bytes are proved by it, else QstoreError INTEGRITY is raised.

    Raises QstoreError.
    """

    def __init__(self, path, framework="np", device="cpu", *, precision="high", base=None, threads=0, digest=None):
        self._changed = threading.Condition()  # of the next two fields
        self._archive = c_void_p()
        self._readers = 0
        self.framework = framework
        self._threads = threads
        if path is None:
            raise TypeError("a path is needed, not None")
        if framework not in ("np", "pt"):
            raise ValueError(f"framework {framework}: give \"np\" or \"pt\"")
        if str(device) != "cpu":
            raise ValueError(f"device {device}: tensors are loaded for \"cpu\"; move them from there")
        call("qstore_open", path_bytes(path), byref(self._archive))
        try:
            if digest is not None:
                call("qstore_pin", self._archive, digest.encode())
            if base is not None:
                call("qstore_set_base", self._archive, path_bytes(base))
            variant = c_uint32()
            call("qstore_find_variant", self._archive, precision.encode(), byref(variant))
            self._list_tensors(variant.value)
        except BaseException:
            self.close()
            raise

    def _list_tensors(self, variant):
        info = qstore_archive_info()
        library.qstore_get_info(self._archive, byref(info))
        self._files = []
        for i in range(info.n_files):
            file = qstore_file_info()
            library.qstore_get_file(self._archive, i, byref(file))
            self._files.append((file.name.decode(), file.size, file.variants >> variant & 1))
        self._tensors = {}
        for i in range(info.n_tensors):
            tensor = _Tensor(self._archive, i)
            if self._files[tensor.file][2]:
                self._tensors.setdefault(tensor.name, []).append(tensor)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Closes the archive when no other thread reads it. It is called at the end of a with statement."""
        with self._changed:
            archive, self._archive = self._archive, c_void_p()
            while self._readers:
                self._changed.wait()
            if archive:
                library.qstore_close(archive)

    def __del__(self):
        if hasattr(self, "_changed"):
            self.close()

    def __reduce__(self):
        raise TypeError("an open archive cannot be copied: open it again")

    @contextmanager
    def _opened(self):
        """The archive, which is not closed meanwhile."""
        with self._changed:
            if not self._archive:
                raise ValueError("the archive is closed")
            archive = self._archive
            self._readers += 1
        try:
            yield archive
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    def keys(self, file=None):
        """The names of the variant's tensors, in the archive's order. file: only those of this file."""
        if file is None:
            return list(self._tensors)
        if file not in self.files():
            raise KeyError(f"the archive has no file {file} at this precision")
        return [name for name, tensors in self._tensors.items() if any(self.file_name(tensor) == file for tensor in tensors)]

    def digest(self):
        """The archive's digest, "sha256-…"."""
        text = create_string_buffer(52)
        with self._opened() as archive:
            library.qstore_get_digest(archive, text)
        return text.value.decode()

    def offset_keys(self):
        """The names in the order of their bytes, which is that of keys()."""
        return self.keys()

    def size(self, file=None):
        """The bytes of all tensors of the variant. file: only those of this file."""
        return sum(tensor.size for tensors in self._tensors.values() for tensor in tensors
                   if file is None or self.file_name(tensor) == file)

    def files(self):
        """The names of the variant's files."""
        return [name for name, _, is_there in self._files if is_there]

    def file_name(self, tensor):
        return self._files[tensor.file][0]

    def _find(self, name, file):
        found = [t for t in self._tensors.get(name, []) if file is None or self.file_name(t) == file]
        if not found:
            raise KeyError(f"the archive has no tensor {name}" + (f" in {file}" if file else "") + " at this precision")
        if len(found) > 1:
            names = ", ".join(self.file_name(t) for t in found)
            raise KeyError(f"tensor {name} is in several files ({names}): give one of them as file")
        return found[0]

    def read(self, tensor, offset, size, progress=None):
        """Bytes of a tensor, as an array of bytes of the framework."""
        with self._opened() as archive:
            data, address = memory(size, self.framework)
            if not size:
                return data
            work = Work(progress, threads=self._threads)
            work.call("qstore_read_tensor", archive, tensor.number, offset, size, c_void_p(address), byref(work.struct))
        return data

    def get_tensor(self, name, file=None, progress=None):
        """All of a tensor, as an array of the framework. file: the file that has it, where several do.

        progress: called with "reading", the bytes that are done and all bytes.
        """
        tensor = self._find(name, file)
        return array_of(self.read(tensor, 0, tensor.size, progress), tensor.dtype, tensor.shape, self.framework)

    def get_slice(self, name, file=None):
        """A tensor whose parts are read by indexing."""
        return TensorSlice(self, self._find(name, file))

    def read_file(self, name):
        """The bytes of a file of the variant, such as config.json."""
        for number, (own, size, is_there) in enumerate(self._files):
            if own == name and is_there:
                return bytes(self._read_file(number, 0, size))
        raise KeyError(f"the archive has no file {name} at this precision")

    def _read_file(self, number, offset, size):
        data = bytearray(size)
        with self._opened() as archive:
            call("qstore_read_file", archive, number, offset, size, c_char_array(data), None)
        return data

    def metadata(self):
        """The __metadata__ of the variant's safetensors files: a dict, or None where there is none."""
        found = {}
        for number, (name, size, is_there) in enumerate(self._files):
            if not is_there or not name.endswith(".safetensors") or size < 8:
                continue
            length = int.from_bytes(self._read_file(number, 0, 8), "little")
            header = json.loads(self._read_file(number, 8, length)) if length <= size - 8 else {}
            found.update(header.get("__metadata__") or {})
        return found or None


def c_char_array(data):
    """The memory of a bytearray, for a call that fills it."""
    return cast((c_char * len(data)).from_buffer(data), c_void_p)


def load_file(path, device="cpu", *, file=None, progress=None, **options):
    """All tensors of a variant: a dict from names to arrays. The options are those of safe_open.

    file: only the tensors of this file. It is needed where several files have tensors of one name (a pipeline's models, say).
    progress: called with "reading", the bytes that are done and all bytes. An exception that it raises ends the loading.
    """
    with safe_open(path, device=device, **options) as archive:
        loaded, done, total = {}, 0, archive.size(file)
        for name in archive.keys(file):
            loaded[name] = archive.get_tensor(name, file, progress and (
                lambda phase, part, _, before=done: progress(phase, before + part, total)))
            done += archive.get_slice(name, file).get_size()
            if progress:
                progress("reading", done, total)
        return loaded
