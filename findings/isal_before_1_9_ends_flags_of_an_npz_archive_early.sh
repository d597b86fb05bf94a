#!/usr/bin/env bash
# isal before 1.9 says too early that it has given back all of a compressed NPZ member, where it is asked for pieces.
#
# `numpy.savez_compressed` deflates, and flags of episodes are nearly all zeros: 4 MiB of `dones` [4096, 1024] become some
# kilobytes. Whoever inflates them in bounded memory asks for so many bytes at a time:
#
#     inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
#     while not inflater.eof:
#         piece = inflater.decompress(next_input if inflater.needs_input else b"", 65536)
#
# Once all input is in, `needs_input` is to be False until all that comes of it was asked for. Here it says True while the
# last bytes are still inside:
#
#     isal 1.8.0    4194304 of 4194432 bytes, needs_input True, eof False
#     isal 1.9.1    4194432 of 4194432 bytes, needs_input False, eof True
#
# So a reader that goes by pieces takes a whole archive for one that was cut off. One more `decompress(b"")` gives the rest.
#
# What to do: isal 1.9, or one piece for all.
#
# Downloads into a folder of its own, and fails if any of this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
install() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
install numpy==2.4.6
for isal in 1.8.0 1.9.1; do
  install --no-deps --target "$folder/isal-$isal" "isal==$isal"
done
cat >"$folder/pieces.py" <<'PY'
import io
import sys
import zipfile

import isal
import numpy as np
from isal import igzip_lib

rng = np.random.default_rng(0)
dones = np.zeros((4096, 1024), bool)
dones[rng.integers(0, 4096, 50), rng.integers(0, 1024, 50)] = True
file = io.BytesIO()
np.savez_compressed(file, dones=dones)
with zipfile.ZipFile(file) as archive:
    member = archive.getinfo("dones.npy")
    whole = archive.read(member)
header = file.getvalue()[member.header_offset :][:30]
start = member.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
packed = file.getvalue()[start : start + member.compress_size]

inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
found = inflater.decompress(packed, 65536)
while not (inflater.eof or inflater.needs_input):
    found += inflater.decompress(b"", 65536)
print(
    f"isal {isal.__version__}: {len(found)} of {len(whole)} bytes, needs_input {inflater.needs_input}, eof {inflater.eof}"
)
assert whole.startswith(found)
if sys.argv[1] == "early":
    assert inflater.needs_input and not inflater.eof and len(found) == 4194304
    assert found + inflater.decompress(b"", 65536) == whole
else:
    assert inflater.eof and found == whole
PY
run() { PYTHONPATH=$1 "$folder/venv/bin/python" "$folder/pieces.py" "$2"; }
run "$folder/isal-1.8.0" early
run "$folder/isal-1.9.1" whole
echo "as described"
