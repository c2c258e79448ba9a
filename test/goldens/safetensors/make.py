"""Every dtype as the reference implementation writes it.  usage: python make.py  (made with safetensors 0.8.0, NumPy 2.4.6)"""
from pathlib import Path
import numpy as np
from safetensors import TensorSpec, serialize_file

rng = np.random.default_rng(20260801)
widths = {"bool": 1, "uint8": 1, "int8": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4, "float64": 8, "int64": 8}
tensors, keep = {}, []
for i, (dtype, width) in enumerate(widths.items()):
    for name, shape in ((f"b.{dtype}", (2, 3)), (f"a.{dtype} é", ()), (f"{9 - i}", (0, 4))):
        size = int(np.prod(shape)) * width
        data = rng.integers(0, 2 if dtype == "bool" else 256, size, dtype=np.uint8)
        keep.append(data)
        tensors[name] = TensorSpec(dtype=dtype, shape=list(shape), data_ptr=data.ctypes.data, data_len=data.nbytes)
serialize_file(tensors, str(Path(__file__).parent / "types.safetensors"), {"format": 'a "test"\n'})
