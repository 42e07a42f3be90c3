"""Reading, packing and unpacking from Python, compared with the files themselves."""

import copy
import importlib.util
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

import qstore

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HAVE_NUMPY = importlib.util.find_spec("numpy") is not None
HAVE_TORCH = importlib.util.find_spec("torch") is not None


def tool(name, *arguments):
    subprocess.run([os.path.join(ROOT, "build/bin", name), *arguments], check=True, stdout=subprocess.DEVNULL)


def tensors_of(folder):
    """Type, shape and bytes of each tensor of a folder's safetensors files, read by nothing but this function."""
    found = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, name), "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
            length = int.from_bytes(m[:8], "little")
            for key, value in json.loads(m[8:8 + length]).items():
                if key != "__metadata__":
                    begin, end = value["data_offsets"]
                    found[key] = value["dtype"], value["shape"], m[8 + length + begin:8 + length + end]
    return found


class Archives(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model, cls.archive, cls.restored = (os.path.join(cls.folder.name, name) for name in ("model", "m.qstore", "out"))
        tool("qstore-generate", "--weights", "3000000", "-o", cls.model)
        cls.phases = []
        qstore.pack(cls.model, output=cls.archive, progress=lambda phase, done, total: cls.phases.append((phase, done, total)))
        qstore.unpack(cls.archive, cls.restored, precision="all")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_progress(self):
        self.assertEqual({phase for phase, _, _ in self.phases}, {"quantizing", "encoding", "verifying"} | {p for p, _, _ in self.phases})
        self.assertIn("encoding", {phase for phase, _, _ in self.phases})
        self.assertTrue(all(done <= total for _, done, total in self.phases))

    def test_unpacked_files_are_the_model(self):
        for name in os.listdir(self.model):
            with open(os.path.join(self.model, name), "rb") as a, open(os.path.join(self.restored, "bf16", name), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)

    def test_files_that_have_tensors_of_one_name(self):
        folder = os.path.join(self.folder.name, "pipeline")
        for part, seed in (("unet", "1"), ("vae", "2")):
            tool("qstore-generate", "--layers", "1", "--hidden", "64", "--intermediate", "96", "--vocab", "100", "--seed", seed, "-o",
                 os.path.join(folder, part))
        path = os.path.join(self.folder.name, "pipeline.qstore")
        qstore.pack(folder, output=path, quantize="none")
        with self.assertRaisesRegex(KeyError, "is in several files .*: give one of them as file"):
            qstore.load_file(path)
        with self.assertRaisesRegex(KeyError, "has no file nowhere"):
            qstore.load_file(path, file="nowhere")
        for part in ("unet", "vae"):
            with qstore.safe_open(path) as f:
                names = [name for name in f.files() if name.startswith(part) and name.endswith(".safetensors")]
            expected, found = tensors_of(os.path.join(folder, part)), {}
            for name in names:
                found.update(qstore.load_file(path, file=name))
            self.assertEqual(sorted(expected), sorted(found))
            for name, (_, _, data) in expected.items():
                self.assertEqual(bytes(memoryview(found[name]).cast("B")), data, name)

    def test_the_order_of_arguments_is_that_of_safetensors(self):
        with qstore.safe_open(self.archive, "np", "cpu") as f:
            self.assertTrue(f.keys())
        with self.assertRaisesRegex(ValueError, 'device cuda: tensors are loaded for "cpu"'):
            qstore.safe_open(self.archive, "np", device="cuda")

    def test_what_is_whole_of_a_damaged_archive(self):
        with open(self.archive, "rb") as f:
            data = bytearray(f.read())
        data[-5000] ^= 1
        path, output, found = os.path.join(self.folder.name, "damaged.qstore"), os.path.join(self.folder.name, "salvaged"), []
        with open(path, "wb") as f:
            f.write(data)
        with self.assertRaisesRegex(qstore.QstoreError, "is damaged"):
            qstore.unpack(path, output)
        qstore.unpack(path, output, on_damage=found.append)
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0].path, found[0].name + ".damaged")
        self.assertIn(f"tensor {found[0].tensor}: chunk", found[0].reason)
        name = os.path.basename(found[0].name)
        with open(os.path.join(self.restored, "bf16", name), "rb") as a, open(found[0].path, "rb") as b:
            expected, end = bytearray(a.read()), found[0].offset + found[0].size
            expected[found[0].offset:end] = bytes(found[0].size)
            self.assertEqual(b.read(), expected)
        self.assertFalse(os.path.exists(found[0].name))

    @unittest.skipUnless(HAVE_NUMPY, "NumPy is not installed")
    def test_all_tensors_with_numpy(self):
        for precision in ("int8", "bf16", "low", "high"):
            folder = {"low": "int8", "high": "bf16"}.get(precision, precision)
            expected = tensors_of(os.path.join(self.restored, folder))
            with qstore.safe_open(self.archive, precision=precision) as f:
                self.assertEqual(sorted(f.keys()), sorted(expected))
                for name, (dtype, shape, data) in expected.items():
                    array = f.get_tensor(name)
                    self.assertEqual(list(array.shape), shape, name)
                    self.assertEqual(array.tobytes(), data, name)
                    self.assertEqual(f.get_slice(name).get_dtype(), dtype)
                    self.assertEqual(f.get_slice(name).get_shape(), shape)
            loaded = qstore.load_file(self.archive, precision=precision)
            self.assertEqual({name: array.tobytes() for name, array in loaded.items()},
                             {name: data for name, (_, _, data) in expected.items()})

    @unittest.skipUnless(HAVE_NUMPY, "NumPy is not installed")
    def test_slices_are_those_of_the_array(self):
        with qstore.safe_open(self.archive, precision="bf16") as f:
            name = "model.layers.0.mlp.up_proj.weight"
            array, part = f.get_tensor(name), f.get_slice(name)
            n = array.shape[0]
            for index in (0, -1, n - 1, slice(None), slice(3, 7), slice(-5, None), slice(None, None, 3), slice(None, None, -1),
                          slice(20, 4, -5), slice(4, 4), slice(9, 2), (slice(2, 5), slice(1, 4)), (5, slice(None, None, 2)),
                          (slice(2, 9), 3), (Ellipsis, 0), (1, 1), slice(n - 2, n + 100)):
                got, expected = part[index], array[index]
                self.assertEqual(got.shape, expected.shape, index)
                self.assertEqual(got.tobytes(), expected.tobytes(), index)
            for index in (n, -n - 1):
                with self.assertRaises(IndexError):
                    part[index]

    @unittest.skipUnless(HAVE_TORCH, "PyTorch is not installed")
    def test_all_tensors_with_torch(self):
        import torch
        expected = tensors_of(os.path.join(self.restored, "bf16"))
        loaded = qstore.load_file(self.archive, framework="pt")
        for name, (dtype, shape, data) in expected.items():
            tensor = loaded[name]
            self.assertEqual(list(tensor.shape), shape)
            if dtype == "BF16":
                self.assertEqual(tensor.dtype, torch.bfloat16)
            self.assertEqual(bytes(tensor.contiguous().view(torch.uint8).flatten().tolist()), data, name)
        with qstore.safe_open(self.archive, precision="int8", framework="pt") as f:
            name = "model.layers.0.mlp.up_proj.weight"
            self.assertTrue(torch.equal(f.get_slice(name)[2:5, 1:3], f.get_tensor(name)[2:5, 1:3]))
            self.assertEqual(f.get_tensor(name).dtype, torch.int8)

    def test_files_and_metadata(self):
        with qstore.safe_open(self.archive, precision="int8") as f:
            with open(os.path.join(self.restored, "int8/config.json"), "rb") as config:
                self.assertEqual(f.read_file("config.json"), config.read())
            self.assertIn("config.json", f.files())
            self.assertEqual(f.metadata(), {"format": "pt"})
            with self.assertRaises(KeyError):
                f.read_file("nothing")
            with self.assertRaises(KeyError):
                f.get_tensor("nothing")

    @unittest.skipUnless(HAVE_NUMPY, "NumPy is not installed")
    def test_several_threads_read_one_archive(self):
        expected = tensors_of(os.path.join(self.restored, "bf16"))
        wrong = []
        with qstore.safe_open(self.archive) as f:
            def read():
                for name, (_, _, data) in expected.items():
                    if f.get_tensor(name).tobytes() != data:
                        wrong.append(name)
            threads = [threading.Thread(target=read) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])

    @unittest.skipUnless(HAVE_NUMPY, "NumPy is not installed")
    def test_blocks_of_gguf(self):
        path, archive, out = (os.path.join(self.folder.name, name) for name in ("m-bf16.gguf", "g.qstore", "gguf"))
        tool("qstore-gguf", "bf16", self.model, path)
        qstore.pack(path, output=archive)
        qstore.unpack(archive, out, precision="low")
        with qstore.safe_open(archive, precision="low") as f:
            blocks = [name for name in f.keys() if f.get_slice(name).get_dtype() == "Q8_0"]
            self.assertTrue(blocks)
            with open(os.path.join(out, f.files()[0]), "rb") as restored:
                data = restored.read()
            for name in blocks:
                array = f.get_tensor(name)
                self.assertEqual(array.dtype, "uint8")
                self.assertIn(array.tobytes(), data)

    def test_errors_are_the_library_s(self):
        with self.assertRaises(qstore.QstoreError) as caught:
            qstore.safe_open(os.path.join(self.model, "config.json"))
        self.assertEqual(caught.exception.status, "NOT_QSTORE")
        self.assertIn("config.json", str(caught.exception))
        with self.assertRaises(qstore.QstoreError) as caught:
            qstore.safe_open(self.archive, precision="int4")
        self.assertEqual(caught.exception.status, "NOT_FOUND")
        with self.assertRaises(qstore.QstoreError) as caught:
            qstore.pack(self.model, output=self.archive)
        self.assertEqual(caught.exception.status, "EXISTS")
        with self.assertRaises(ValueError):
            qstore.pack(self.model, output="x.qstore", quantize="int3")

    def test_a_digest_proves_what_is_read(self):
        with qstore.safe_open(self.archive) as f:
            digest = f.digest()
        with qstore.safe_open(self.archive, digest=digest) as f:
            self.assertEqual(f.digest(), digest)
            for name in f.keys():
                self.assertGreater(len(f.get_slice(name).get_shape()), 0)
        with open(self.archive, "rb") as f:
            data = bytearray(f.read())
        data[-70000] ^= 1
        damaged = os.path.join(self.folder.name, "damaged.qstore")
        with open(damaged, "wb") as f:
            f.write(data)
        with self.assertRaises(qstore.QstoreError) as caught:
            qstore.unpack(damaged, os.path.join(self.folder.name, "no"), digest=digest)
        self.assertEqual(caught.exception.status, "INTEGRITY")
        with self.assertRaises(qstore.QstoreError) as caught:
            qstore.safe_open(self.archive, digest="0" * 64)
        self.assertEqual(caught.exception.status, "INTEGRITY")

    def test_a_closed_archive_says_so(self):
        f = qstore.safe_open(self.archive)
        name = f.keys()[0]
        with self.assertRaises(TypeError):
            copy.copy(f)
        f.close()
        f.close()
        for use in (f.digest, f.metadata, lambda: f.read_file("config.json"), lambda: f.get_tensor(name), lambda: f.get_slice(name)[0:1]):
            with self.assertRaises(ValueError):
                use()
        for wrong in (lambda: qstore.safe_open(None), lambda: qstore.unpack(None, "x"), lambda: qstore.safe_open()):
            with self.assertRaises(TypeError):
                wrong()
        with self.assertRaises(ValueError):
            qstore.safe_open(self.archive + "\0x")
        with self.assertRaises(ValueError):
            qstore.safe_open(self.archive, framework="tf")

    def test_one_file_by_name(self):
        output = os.path.join(self.folder.name, "one")
        self.assertEqual(qstore.unpack(self.archive, output, files="config.json")[0], 1)
        self.assertEqual(os.listdir(output), ["config.json"])

    def test_hidden_names(self):
        shard = os.path.join(self.folder.name, ".hidden.safetensors")
        name = next(each for each in os.listdir(self.model) if each.endswith(".safetensors"))
        shutil.copy(os.path.join(self.model, name), shard)
        archive, output, warnings = shard + ".qstore", os.path.join(self.folder.name, "hidden"), []
        qstore.pack(shard, output=archive)
        self.assertEqual(qstore.unpack(archive, output, warn=warnings.append)[0], 0)
        self.assertIn("file .hidden.safetensors has a hidden name", warnings[0])
        self.assertEqual(qstore.unpack(archive, output, hidden=True)[0], 1)
        self.assertEqual(os.listdir(output), [".hidden.safetensors"])

    def test_closing_waits_for_readers(self):
        for _ in range(10):
            f = qstore.safe_open(self.archive)
            names, seen = f.keys(), []

            def read():
                try:
                    for name in names:
                        f.get_tensor(name)
                except ValueError as error:
                    seen.append(str(error))

            threads = [threading.Thread(target=read) for _ in range(3)]
            for thread in threads:
                thread.start()
            f.close()
            for thread in threads:
                thread.join()
            self.assertTrue(all(text == "the archive is closed" for text in seen))

    def test_an_exception_of_the_callback_cancels(self):
        output = os.path.join(self.folder.name, "cancelled.qstore")

        def stop(phase, done, total):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            qstore.pack(self.model, output=output, progress=stop)
        self.assertFalse(os.path.exists(output))

    @unittest.skipUnless(HAVE_NUMPY, "NumPy is not installed")
    def test_progress_of_loading(self):
        calls = []
        loaded = qstore.load_file(self.archive, threads=2, progress=lambda *each: calls.append(each))
        total = sum(array.nbytes for array in loaded.values())
        self.assertEqual({phase for phase, _, _ in calls}, {"reading"})
        self.assertEqual([done for _, done, _ in calls], sorted(done for _, done, _ in calls))
        self.assertEqual(calls[-1][1:], (total, total))

        def stop(phase, done, total):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            qstore.load_file(self.archive, threads=2, progress=stop)

    def test_without_numpy_only_arrays_need_it(self):
        script = ("import sys\nsys.modules['numpy'] = None\nimport qstore\n"
                  "with qstore.safe_open(sys.argv[1]) as f:\n    print(len(f.keys()), len(f.read_file('config.json')))")
        subprocess.run([sys.executable, "-c", script, self.archive], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    unittest.main()
