#!/usr/bin/env bash
# Triton 3.6.0's interpreter does not run a loop whose length is an argument where NumPy is 2.4 or newer.
#
# `TRITON_INTERPRET=1` runs a kernel on the CPU, by NumPy: how kernels are tested where there is no GPU. A scan such as that
# of advantages, A_t = δ_t + γλ A_{t+1}, loops over as many steps as it is told:
#
#     for back in range(num_steps):      # num_steps: an argument, not a tl.constexpr
#
# The interpreter makes an index of the argument by `int()` of an array of shape [1]. NumPy deprecated that in 1.25 and
# refuses it from 2.4 on: "only 0-dimensional arrays can be converted to Python scalars". So with the same kernel
#
#     triton 3.6.0, NumPy 2.3.5    right
#     triton 3.6.0, NumPy 2.4.6    InterpreterError
#     triton 3.7.0, NumPy 2.4.6    right
#
# Kernels whose length is a `tl.constexpr` are not touched, nor are compiled ones. torch 2.11 with CUDA brings 3.6.0, and
# takes any NumPy.
#
# What to do: NumPy below 2.4 to test with, or Triton 3.7.
#
# Downloads into a folder of its own, and fails if any of this is no longer so. With a CPU build of torch at hand
# (`PIP_FIND_LINKS`, or an extra index) no CUDA is fetched.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
install torch==2.13.0 numpy==2.4.6
for triton in 3.6.0 3.7.0; do
  install --no-deps --target "$folder/triton-$triton" "triton==$triton"
done
install --no-deps --target "$folder/numpy-2.3.5" numpy==2.3.5
cat >"$folder/scan.py" <<'PY'
import sys

import numpy as np
import torch
import triton
import triton.language as tl


@triton.jit
def scan(deltas, advantages, num_steps, decay):
    advantage = 0.0
    for back in range(num_steps):
        step = num_steps - 1 - back
        advantage = tl.load(deltas + step) + decay * advantage
        tl.store(advantages + step, advantage)


decay = 0.99 * 0.95
deltas = torch.tensor([1.0, 0.0, -2.0, 0.5])
advantages = torch.zeros(4)
expected = [sum(decay**ahead * deltas[step + ahead].item() for ahead in range(4 - step)) for step in range(4)]
try:
    scan[(1,)](deltas, advantages, 4, decay)
except Exception as error:
    seen = f"{type(error).__name__}: {error}"
else:
    np.testing.assert_allclose(advantages.numpy(), expected, rtol=1e-6)
    seen = "right"
print(f"triton {triton.__version__}, NumPy {np.__version__}: {seen}")
wanted = sys.argv[1]
assert wanted in seen, f"not as described: {wanted}"
PY
run() { PYTHONPATH=$1 TRITON_INTERPRET=1 "$folder/venv/bin/python" -W ignore::DeprecationWarning "$folder/scan.py" "$2"; }
run "$folder/triton-3.6.0:$folder/numpy-2.3.5" right
run "$folder/triton-3.6.0" "only 0-dimensional arrays can be converted to Python scalars"
run "$folder/triton-3.7.0" right
echo "as described"
