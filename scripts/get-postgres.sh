#!/bin/sh
# Make sure that there is a PostgreSQL server, which tests/feedback and tests/server/test_feedback.py start in a temporary folder;
# quick when there is. Debian's package, where apt can be run; elsewhere those tests are skipped, and say so, but never in CI.
set -eu

command -v initdb >/dev/null && exit
for program in /usr/lib/postgresql/*/bin/initdb; do
    [ -x "$program" ] && exit
done
command -v apt-get >/dev/null || { echo "get-postgres: no PostgreSQL server; its half of the tests is skipped" >&2; exit 0; }
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
as_root true 2>/dev/null || { echo "get-postgres: no PostgreSQL server; its half of the tests is skipped" >&2; exit 0; }
echo "Installing postgresql" >&2
# Without the cluster that Debian would create and start.
as_root apt-get update -qq >&2 &&
    as_root sh -c 'mkdir -p /etc/postgresql-common &&
        { [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf; }' &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql >&2 ||
    echo "get-postgres: PostgreSQL could not be installed; its half of the tests is skipped" >&2
