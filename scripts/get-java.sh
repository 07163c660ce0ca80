#!/bin/sh
# Make sure that there is a JDK for the test with Java's own HTTP client; quick when there is one. Debian's package, where apt can
# be run.
set -eu

command -v java >/dev/null && java --list-modules 2>/dev/null | grep -q '^jdk.compiler' && exit

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

if command -v apt-get >/dev/null && as_root true 2>/dev/null; then
    echo "Installing default-jdk-headless" >&2
    as_root apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends default-jdk-headless >&2 && exit
fi
echo "get-java: no JDK could be had: install one of 17 or later, so that java is on PATH" >&2
exit 1
