"""libqstore as ctypes sees it: the structs and functions of qstore.h, with the same names.

tests/python/test_library.py compares every struct with the header.
"""

import ctypes
import ctypes.util
import os
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p

STATUS_NAMES = [
    "OK", "USAGE", "NOT_QSTORE", "NEWER", "TRUNCATED", "CORRUPT", "LIMIT", "MEMORY", "IO", "INPUT", "MISMATCH", "NOT_FOUND",
    "EXISTS", "CANCELLED", "OLDER", "INTEGRITY",
]


class QstoreError(Exception):
    """A call of the library failed. Its text says what is wrong with which file and tensor, and what to do.

    status: the name of the status in qstore.h without its prefix, such as "NOT_FOUND" or "CORRUPT".
    """

    def __init__(self, status, text):
        super().__init__(text)
        self.status = STATUS_NAMES[status] if status < len(STATUS_NAMES) else str(status)


class qstore_error(Structure):
    _fields_ = [("status", c_int), ("text", c_char * 1024)]


class qstore_progress(Structure):
    _fields_ = [("phase", c_char_p), ("done", c_uint64), ("total", c_uint64)]


ON_PROGRESS = CFUNCTYPE(None, c_void_p, POINTER(qstore_progress))
ON_WARNING = CFUNCTYPE(None, c_void_p, c_char_p)


class qstore_work(Structure):
    _fields_ = [
        ("threads", c_uint), ("on_progress", ON_PROGRESS), ("on_warning", ON_WARNING), ("user", c_void_p),
        ("cancel", POINTER(c_int)), ("reserved", c_void_p * 4),
    ]


class qstore_pack_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("high", c_char_p), ("low", c_char_p), ("lower", POINTER(c_char_p)),
        ("skip", POINTER(c_char_p)), ("beside", c_int), ("output", c_char_p),
        ("force", c_int), ("quantize", c_int), ("include", POINTER(c_char_p)), ("exclude", POINTER(c_char_p)), ("base", c_char_p),
        ("from", c_char_p), ("strict", c_int), ("allow_mismatch", c_int), ("compare", c_int), ("work", qstore_work),
    ]


class qstore_damage(Structure):
    _fields_ = [
        ("path", c_char_p), ("name", c_char_p), ("tensor", c_char_p), ("offset", c_uint64), ("size", c_uint64), ("reason", c_char_p),
    ]


ON_DAMAGE = CFUNCTYPE(None, c_void_p, POINTER(qstore_damage))


class qstore_unpack_options(Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("precision", c_char_p), ("output", c_char_p), ("force", c_int), ("files", POINTER(c_char_p)),
        ("tensors", POINTER(c_char_p)), ("sha256", c_int), ("work", qstore_work), ("as", c_char_p), ("write", c_void_p),
        ("on_raw", c_void_p), ("user", c_void_p), ("keep_going", c_int), ("on_damage", ON_DAMAGE), ("hidden", c_int),
    ]


class qstore_unpack_result(Structure):
    _fields_ = [("n_files", c_uint64), ("size", c_uint64), ("n_damaged", c_uint64)]


class qstore_archive_info(Structure):
    _fields_ = [
        ("file_size", c_uint64), ("archive_size", c_uint64), ("index_size", c_uint64), ("n_variants", c_uint32),
        ("n_files", c_uint32), ("n_tensors", c_uint32),
    ]


class qstore_file_info(Structure):
    _fields_ = [
        ("name", c_char_p), ("variants", c_uint32), ("size", c_uint64), ("sha256", c_void_p), ("kind", c_char_p),
        ("coded_size", c_uint64),
    ]


class qstore_tensor_info(Structure):
    _fields_ = [
        ("name", c_char_p), ("file", c_uint32), ("variants", c_uint32), ("dtype", c_char_p), ("n_dims", c_uint32),
        ("n_elems", c_uint64), ("size", c_uint64), ("kind", c_char_p), ("coded_size", c_uint64), ("rule", c_char_p),
        ("error", c_double), ("shared", c_int),
    ]


STRUCTS = [
    qstore_error, qstore_progress, qstore_work, qstore_pack_options, qstore_damage, qstore_unpack_options, qstore_unpack_result,
    qstore_archive_info, qstore_file_info, qstore_tensor_info,
]

_ERROR = POINTER(qstore_error)
_PROTOTYPES = {
    "qstore_version": (c_char_p,),
    "qstore_pack": (c_int, POINTER(qstore_pack_options), c_void_p, _ERROR),
    "qstore_open": (c_int, c_char_p, POINTER(c_void_p), _ERROR),
    "qstore_close": (None, c_void_p),
    "qstore_set_base": (c_int, c_void_p, c_char_p, _ERROR),
    "qstore_pin": (c_int, c_void_p, c_char_p, _ERROR),
    "qstore_get_digest": (None, c_void_p, c_char_p),
    "qstore_get_info": (None, c_void_p, POINTER(qstore_archive_info)),
    "qstore_get_file": (None, c_void_p, c_uint32, POINTER(qstore_file_info)),
    "qstore_get_tensor": (None, c_void_p, c_uint32, POINTER(qstore_tensor_info)),
    "qstore_get_tensor_dim": (c_uint64, c_void_p, c_uint32, c_uint32),
    "qstore_find_variant": (c_int, c_void_p, c_char_p, POINTER(c_uint32), _ERROR),
    "qstore_read_tensor": (c_int, c_void_p, c_uint32, c_uint64, c_size_t, c_void_p, POINTER(qstore_work), _ERROR),
    "qstore_read_file": (c_int, c_void_p, c_uint32, c_uint64, c_size_t, c_void_p, POINTER(qstore_work), _ERROR),
    "qstore_unpack": (c_int, c_void_p, POINTER(qstore_unpack_options), POINTER(qstore_unpack_result), _ERROR),
}


def _load():
    name = os.environ.get("QSTORE_LIBRARY") or ctypes.util.find_library("qstore") or "libqstore.so.0"
    try:
        loaded = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError(
            f"libqstore cannot be loaded ({error}): install it (make install, or the package libqstore0), or set QSTORE_LIBRARY "
            "to the path of libqstore.so"
        ) from None
    for function, (result, *arguments) in _PROTOTYPES.items():
        entry = getattr(loaded, function)
        entry.restype, entry.argtypes = result, arguments
    return loaded


library = _load()


def version():
    """The version of libqstore."""
    return library.qstore_version().decode()


def call(function, *arguments):
    """Calls a function whose last parameter is an error, and raises that."""
    error = qstore_error()
    status = getattr(library, function)(*arguments, byref(error))
    if status:
        raise QstoreError(status, error.text.decode("utf-8", "replace"))


def path_bytes(path):
    """A path as the library takes it; None stays None. A zero byte would cut it."""
    if path is not None and b"\0" in os.fsencode(path):
        raise ValueError("embedded null byte in a path")
    return None if path is None else os.fsencode(path)


def text_list(texts):
    """A NULL-terminated array of texts, or of a single one; None stays None. Keep it as long as it is in use."""
    if texts is None:
        return None
    if isinstance(texts, (str, bytes, os.PathLike)):
        texts = [texts]
    texts = [os.fsencode(text) for text in texts]
    return (c_char_p * (len(texts) + 1))(*texts, None)


class Work:
    """A qstore_work with Python's callbacks. Exceptions of callbacks, KeyboardInterrupt too, cancel the work and are raised
    when it has ended.

    progress: called with the phase's name, the bytes that are done and all bytes of the phase. warn: called with a line.
    """

    def __init__(self, progress=None, warn=None, threads=0):
        self.exception = None
        self.cancel = c_int(0)
        self._on_progress = ON_PROGRESS(lambda user, p: self._run(
            progress, p.contents.phase.decode(), p.contents.done, p.contents.total))
        self._on_warning = ON_WARNING(lambda user, text: self._run(warn, text.decode("utf-8", "replace")))
        self.struct = qstore_work(threads=threads, on_progress=self._on_progress, on_warning=self._on_warning,
                                  cancel=ctypes.pointer(self.cancel))

    def _run(self, callback, *arguments):
        try:
            if callback and not self.exception:
                callback(*arguments)
        except BaseException as exception:  # the library's C code must not be unwound
            self.exception = exception
            self.cancel.value = 1

    def call(self, function, *arguments):
        try:
            call(function, *arguments)
        finally:
            if self.exception:
                raise self.exception
