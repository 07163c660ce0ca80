#!/bin/sh
# Make sure that there is a JDK, with whose own HTTP client tests/server/test_protocol.py asks the server; quick when there is.
# Debian's package, where apt can be run; elsewhere that test is skipped, and says so, but never in CI.
set -eu

command -v java >/dev/null && java --list-modules 2>/dev/null | grep -q '^jdk.compiler' && exit
command -v apt-get >/dev/null || exit 0
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
as_root true 2>/dev/null || exit 0
echo "Installing default-jdk-headless" >&2
as_root apt-get update -qq >&2 &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends default-jdk-headless >&2 ||
    echo "get-java: no JDK could be installed; the test with Java's own client is skipped" >&2
