"""Types of elements, and arrays of them."""

# The types that NumPy has no name for are unsigned integers of the same size there.
NUMPY = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8", "BF16": "<u2", "F8_E4M3": "uint8",
    "F8_E5M2": "uint8", "F8_E8M0": "uint8", "F8_E4M3FNUZ": "uint8", "F8_E5M2FNUZ": "uint8",
}
TORCH = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}
_SIZES = {"bool": 1, "uint8": 1, "int8": 1}


def item_size(dtype):
    """Bytes of an element; 0 for blocks of GGUF and other types whose elements are no whole bytes."""
    name = NUMPY.get(dtype)
    return 0 if name is None else _SIZES.get(name) or int(name[2:])


def memory(size, framework):
    """Memory that a call fills: an array of `size` bytes, which are not set, and its address."""
    if framework == "pt":
        import torch
        tensor = torch.empty(size, dtype=torch.uint8)
        return tensor, tensor.data_ptr()
    if framework != "np":
        raise ValueError(f"framework {framework}: give \"np\" or \"pt\"")
    import numpy
    array = numpy.empty(size, dtype="uint8")
    return array, array.ctypes.data


def array_of(data, dtype, shape, framework):
    """The bytes of data, an array that memory() made, as an array of the type. Blocks are bytes, without the shape."""
    is_blocks = item_size(dtype) == 0
    if is_blocks:
        return data
    if framework == "pt":
        import torch
        # Versions of PyTorch that lack a type have its bytes as unsigned or signed integers.
        type_ = getattr(torch, TORCH.get(dtype, ""), None) or {1: torch.uint8, 2: torch.int16, 4: torch.int32,
                                                               8: torch.int64}[item_size(dtype)]
        return data.view(type_).reshape(shape) if len(data) else torch.empty(shape, dtype=type_)
    return data.view(NUMPY[dtype]).reshape(shape)
