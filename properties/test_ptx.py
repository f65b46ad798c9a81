"""What Triton's compiler makes of the kernel, read from its output; this needs no GPU.

The interpreter runs a program as one thread in plain NumPy: it cannot miss a barrier, and its
quotients are always right. Here the barrier and the instructions themselves are counted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

try:
    _NUMBERS = tuple(map(int, version("triton").split(".")[:2]))
except PackageNotFoundError:
    pytest.skip("Triton is not installed: pip install '.[triton]'", allow_module_level=True)
if _NUMBERS < (3, 3):
    pytest.skip("Triton before 3.3 names the parts of a kernel otherwise", allow_module_level=True)

pytestmark = pytest.mark.system

#: In a process of its own: in this one Triton may interpret.
_COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from emcheck.solve.triton_rows import solve_band

dtype, rows, block = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fixed = {"ROWS": rows, "BLOCK": block}
signature = {name: "i32" for name in solve_band.arg_names} | dict.fromkeys(fixed, "constexpr")
signature |= {name: f"*{dtype}" for name in ("z", "x", "weight")} | {"reach": "*i32"}
options = {"num_warps": max(1, rows // 32), "num_stages": 1, "enable_fp_fusion": True}
source = ASTSource(solve_band, signature, fixed)
kernel = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
print(kernel.asm["ttgir"], kernel.asm["ptx"], sep="SPLIT")
"""


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
@pytest.mark.parametrize(("rows", "block"), [(128, 16), (4, 2)])
def test_the_compiled_kernel(dtype: str, rows: int, block: int, tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", _COMPILE, dtype, str(rows), str(block)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    structured, ptx = run.stdout.split("SPLIT")
    # One barrier of all threads and all memory: a block of channels stores, and then it waits.
    (barrier,) = re.finditer(r"\b(ttg|gpu)\.barrier(?! local)", structured)
    assert barrier.start() > structured.rindex("tt.store")
    assert len(re.findall(r"\bbar\.sync", ptx)) == 1
    # No load that need not see stores of the same kernel, no other precision, no flush to zero.
    for word in ("ld.global.nc", "tf32", ".ftz", "div.full", "div.approx", "rcp.", "mma."):
        assert word not in ptx, word
    assert set(re.findall(r"\bdiv\.[\w.]*f\d+", ptx)) == {f"div.rn.f{dtype[2:]}"}
    if rows == 128:  # a thread has all channels of its row: it exchanges nothing but x
        assert ".shared" not in ptx
        assert "shfl." not in ptx
