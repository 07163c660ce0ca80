#!/bin/sh
# Make sure that there is strace, with which tests/project/test_privacy.py sees each connection that a command tries; quick when
# there is. Debian's package, where apt can be run; elsewhere that test makes do with less, and CI with nothing less.
set -eu

command -v strace >/dev/null && exit
command -v apt-get >/dev/null || exit 0
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
as_root true 2>/dev/null || exit 0
echo "Installing strace" >&2
as_root apt-get update -qq >&2 &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends strace >&2 ||
    echo "get-strace: strace could not be installed; the test of what commands send sees less" >&2
