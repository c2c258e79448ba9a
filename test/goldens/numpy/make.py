"""Arrays as NumPy writes them, and their values.  usage: python make.py  (writes beside this file; made with NumPy 2.4.6)

arrays.npz     stored members; names are <type>.<order>; values in arrays.json
deflated.npz   the same, compressed
half.npz       all finite and infinite float16 bit patterns, and their float32 values
*.npy          versions 2 and 3 of the header, an object array, a record array, a complex one
"""
import json
import warnings
from pathlib import Path
import numpy as np

here = Path(__file__).parent
rng = np.random.default_rng(20260801)
arrays, values = {}, {}

for kind in ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"):
    dtype = np.dtype(kind)
    if kind == "?":
        base = rng.integers(0, 2, (2, 3, 4)).astype(dtype)
    elif dtype.kind == "f":
        base = (rng.standard_normal((2, 3, 4)) * 100).astype(dtype)
        base[0, 0, :3] = -0.0, np.inf, np.finfo(dtype).smallest_subnormal
    else:
        info = np.iinfo(dtype)
        top = min(int(info.max), 2**63 - 1)
        base = rng.integers(info.min, top, (2, 3, 4), dtype=dtype, endpoint=True)
        base[0, 0, 0], base[0, 0, 1] = info.min, top
    for order, array in (("little", base), ("big", base.astype(dtype.newbyteorder(">"))), ("fortran", np.asfortranarray(base))):
        arrays[f"{kind}.{order}"] = array
    values[kind] = [str(x) if dtype.kind in "iu" else repr(float(x)) for x in base.ravel()]
arrays["scalar"] = np.float32(1.5)
arrays["empty"] = np.zeros((0, 5), np.int32)
arrays["vector"] = np.arange(5, dtype=np.float32)
arrays["column.fortran"] = np.asfortranarray(np.arange(12, dtype=np.int32).reshape(3, 4))
np.savez(here / "arrays.npz", **arrays)
np.savez_compressed(here / "deflated.npz", **arrays)
(here / "arrays.json").write_text(json.dumps(values) + "\n")

bits = np.arange(65536, dtype=np.uint16)
half = bits.view(np.float16)
keep = ~np.isnan(half)
np.savez_compressed(here / "half.npz", half=half[keep], single=half[keep].astype(np.float32))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for version in (2, 3):
        with open(here / f"version{version}.npy", "wb") as file:
            np.lib.format.write_array(file, np.arange(6, dtype=np.float64).reshape(2, 3), version=(version, 0))
np.save(here / "objects.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
np.save(here / "records.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4", (2,))]))
np.save(here / "complex.npy", np.zeros(2, dtype=np.complex64))
np.save(here / "large_uint64.npy", np.array([2**63], dtype=np.uint64))

# small.npz, small-deflated.npz: for mutations
small = {"w": np.arange(30, dtype="f4").reshape(5, 6).T, "b": np.arange(4, dtype="i8")}
np.savez(here / "small.npz", **small)
np.savez_compressed(here / "small-deflated.npz", **small)
