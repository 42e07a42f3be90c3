"""Archives of a model at several precisions: reading tensors, packing and unpacking.

Tensors are arrays of NumPy, or with framework="pt" of PyTorch; both are optional. All work is done by libqstore, whose
header, qstore.h, says more about each call.
"""

from ._library import QstoreError, version
from .archive import TensorSlice, load_file, safe_open
from .models import Damage, pack, unpack

__version__ = "0.1.0"
__all__ = ["Damage", "QstoreError", "TensorSlice", "load_file", "pack", "safe_open", "unpack", "version"]
