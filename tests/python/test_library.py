"""The structs of native/python/qstore/_library.py are those of qstore.h."""

import ctypes
import os
import subprocess
import tempfile
import unittest

from qstore import _library

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Structs(unittest.TestCase):
    def test_sizes_and_offsets(self):
        """A C program prints the size of each struct and the offset of each field."""
        lines = []
        for struct in _library.STRUCTS:
            lines.append(f'printf("%zu\\n", sizeof({struct.__name__}));')
            for name, *_ in struct._fields_:
                lines.append(f'printf("%zu\\n", offsetof({struct.__name__}, {name}));')
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, "layout.c"), os.path.join(folder, "layout")
            with open(source, "w", encoding="utf-8") as f:
                f.write("#include <qstore.h>\n#include <stdio.h>\nint main(void)\n{\n" + "\n".join(lines) + "\nreturn 0;\n}\n")
            subprocess.run(["cc", f"-I{ROOT}/native/include", source, "-o", program], check=True)
            of_c = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
        of_python = []
        for struct in _library.STRUCTS:
            of_python.append((struct.__name__, ctypes.sizeof(struct)))
            for name, *_ in struct._fields_:
                of_python.append((f"{struct.__name__}.{name}", getattr(struct, name).offset))
        self.assertEqual([(name, int(value)) for (name, _), value in zip(of_python, of_c)], of_python)

    def test_statuses(self):
        """The names are those of the header's enum, in its order."""
        with open(f"{ROOT}/native/include/qstore.h", encoding="utf-8") as f:
            text = f.read()
        body = text[text.index("typedef enum qstore_status {"):text.index("} qstore_status;")]
        names = [line.split()[0][len("QSTORE_"):] for line in body.splitlines() if line.strip().startswith("QSTORE_")]
        self.assertEqual([name.rstrip(",") for name in names], _library.STATUS_NAMES)


if __name__ == "__main__":
    unittest.main()
