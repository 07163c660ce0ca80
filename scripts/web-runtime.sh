#!/bin/sh
# Fetch what the page needs to read on the device itself, onnxruntime-web's WebAssembly build, at the version that
# package-lock.json pins, into src/inkdigits/web/vendor. Quick when it is there. Needs Node.js with npm.
set -eu

root=$(CDPATH='' cd -- "$(dirname "$0")/.." && pwd)
package=$root/node_modules/onnxruntime-web
vendor=$root/src/inkdigits/web/vendor
# The plain build for one thread and the CPU: the smallest that reads, without WebGPU, WebNN and WebGL.
files="ort.wasm.bundle.min.mjs ort-wasm-simd-threaded.wasm"

cd "$root"
if ! cmp -s package-lock.json node_modules/.installed; then
    command -v npm >/dev/null || {
        echo "web-runtime: npm is needed to fetch onnxruntime-web and is not on PATH: install Node.js 20 or later" >&2
        exit 1
    }
    npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
    cp package-lock.json node_modules/.installed
fi
mkdir -p "$vendor"
for file in $files; do
    cmp -s "$package/dist/$file" "$vendor/$file" && continue
    cp "$package/dist/$file" "$vendor/$file.part"
    mv "$vendor/$file.part" "$vendor/$file"
done
# 14 MB become 4 here, once, and not in each answer of the server.
wasm=$vendor/ort-wasm-simd-threaded.wasm
[ "$wasm.gz" -nt "$wasm" ] || { gzip -9 -n -c "$wasm" >"$wasm.gz.part" && mv "$wasm.gz.part" "$wasm.gz"; }
