"""Compiles kernels for a GPU that need not be there, and prints what it became.

A process of its own: where kernels are interpreted, they cannot be compiled.
"""

import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import triton
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

POINTERS = {
    "query", "key", "value", "out", "mask", "fold", "fold_bias", "unfold", "unfold_bias",
}  # fmt: skip


def compiled(
    kernel: Any, constants: dict[str, Any], dtype: str, capability: int, warps: int, stages: int
) -> Any:
    """As a launch with contiguous, aligned tensors would."""
    signature, attributes, fixed = {}, {}, dict(constants)
    for place, name in enumerate(kernel.arg_names):
        if name.endswith("_col"):
            fixed[name] = 1
        if name in fixed:
            signature[name] = "constexpr"
        elif name == "factor":
            signature[name] = "fp32"
        else:
            signature[name] = f"*{dtype}" if name in POINTERS else "i32"
            if name in POINTERS or name.endswith(("_batch", "_head", "_row", "_width")):
                attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature=signature, constexprs=fixed, attrs=attributes)
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def resources(made: Any) -> dict[str, int]:
    """Registers of a thread, and bytes of the stack (where spilled registers go)."""
    tool = Path(nvidia.__file__).parent / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        done = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    words = done.stdout.split("Function ")[-1].split()
    found = dict(word.split(":", 1) for word in words if ":" in word and not word.endswith(":"))
    return {name: int(found[name]) for name in ("REG", "STACK")}


def main() -> None:
    found = []
    for request in json.loads(sys.argv[1]):
        module, name = request.pop("kernel").split(".")
        kernel = getattr(import_module(f"liteasr.kernels.{module}"), name)
        made = compiled(kernel, **request)
        tensor_cores = made.asm["ptx"].count("mma")
        found.append({**resources(made), "shared": made.metadata.shared, "mma": tensor_cores})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
