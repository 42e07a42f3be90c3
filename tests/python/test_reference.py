"""The reference decoder in Python (tests/reference/decode.py, written from FORMAT.md alone) restores the golden archives."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOOD = os.path.join(ROOT, "tests/golden/good")
sys.path.insert(0, os.path.join(ROOT, "tests/reference"))

import decode

# Golden archives that need a part of the format which decode.py does not know yet: none.
NOT_COVERED = set()


def golden(name):
    with open(os.path.join(GOOD, f"{name}.qstore"), "rb") as f:
        return f.read()


def restored(name):
    """{variant: {name of file: bytes}}; NAME.on-BASE is restored on the files of the golden archive BASE."""
    base = name.partition(".on-")[2]
    files = [data for variant in restored(base).values() for data in variant.values()] if base else ()
    return decode.decode_archive(golden(name), files)


def listed(name):
    with open(os.path.join(GOOD, f"{name}.sha256"), encoding="utf-8") as f:
        return sorted(line.rstrip("\n") for line in f)


@unittest.skipUnless(shutil.which("zstd"), "the program zstd decodes the frames; Debian's package is zstd")
class Golden(unittest.TestCase):
    def test_every_archive(self):
        names = {os.path.splitext(entry)[0] for entry in os.listdir(GOOD) if entry.endswith(".qstore")}
        self.assertLessEqual(NOT_COVERED, names)
        self.assertGreaterEqual(len(names), 33)
        for name in sorted(names - NOT_COVERED):
            with self.subTest(name):
                found = [f"{hashlib.sha256(data).hexdigest()}  {variant}/{file}"
                         for variant, files in restored(name).items() for file, data in files.items()]
                self.assertEqual(sorted(found), listed(name))

    def test_window_of_a_frame(self):
        header = b"\x28\xb5\x2f\xfd"
        for rest, window in ((b"\x00\x68", 1 << 23), (b"\x00\x69", (1 << 23) + (1 << 20)), (b"\x20\x07", 7),
                             (b"\x60\xe8\x02", 1000), (b"\xa1\x05\x01\x00\x80\x00", (1 << 23) + 1)):
            self.assertEqual(decode.zstd_window(header + rest), window)

    def test_program_writes_the_files(self):
        with tempfile.TemporaryDirectory() as folder:
            base, out = os.path.join(folder, "base"), os.path.join(folder, "out")
            for name, *arguments in (("bf16", base), ("tuned.on-bf16", out, base)):
                subprocess.run([sys.executable, decode.__file__, os.path.join(GOOD, f"{name}.qstore"), *arguments], check=True)
            found = []
            for at, _, names in os.walk(out):
                for name in names:
                    with open(os.path.join(at, name), "rb") as f:
                        found.append(f"{hashlib.sha256(f.read()).hexdigest()}  {os.path.relpath(os.path.join(at, name), out)}")
            self.assertEqual(sorted(found), listed("tuned.on-bf16"))

    def test_each_changed_chunk_is_refused(self):
        archive = golden("chain")
        index = decode.Index(archive)
        start = len(archive) - len(index.payload)
        for o in index.objects:
            if o.coded_size:
                with self.subTest(offset=o.offset):
                    changed = bytearray(archive)
                    changed[start + o.offset + o.coded_size - 1] ^= 1
                    with self.assertRaisesRegex(decode.FormatError, "a seal is not that of its chunks"):
                        decode.decode_archive(bytes(changed))

    def test_a_base_that_is_not_there(self):
        with self.assertRaisesRegex(decode.FormatError, "the base's file .* is not there"):
            decode.decode_archive(golden("tuned.on-bf16"))


if __name__ == "__main__":
    unittest.main()
