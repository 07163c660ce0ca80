#!/bin/sh
# Make sure that there is a browser for the page's tests and screenshots; quick when there is one.
#
#     scripts/get-browser.sh [PYTHON]    PYTHON has playwright installed; .venv/bin/python by default
#
# An installed Chromium or Chrome is taken; else Debian's package, where apt can be run; else Playwright's own download.
set -eu

python=${1:-.venv/bin/python}
here=$(dirname "$0")

# tests/support/browser.py decides which browser is used, so it also says whether there is one.
have_browser() {
    PYTHONPATH="$here/../tests" "$python" -m support.browser >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Install Debian packages, where apt can be run.
try_apt() {
    command -v apt-get >/dev/null || return 1
    as_root true 2>/dev/null || return 1
    echo "Installing $*" >&2
    as_root apt-get update -qq >&2 || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2 || return 1
}

# Users have Arial or a font as wide; a bare machine has none, and the page's layout would be tried with another.
have_font() {
    command -v fc-match >/dev/null && fc-match Arial | grep -qi -e arial -e liberation -e arimo -e helvet
}

try_playwright() {
    echo "No Chromium or Chrome found: downloading Playwright's" >&2
    if as_root true 2>/dev/null && command -v apt-get >/dev/null; then
        "$python" -m playwright install --with-deps chromium >&2 && return
    fi
    "$python" -m playwright install chromium >&2
}

"$python" -c "import playwright" 2>/dev/null || {
    echo "get-browser: $python has no playwright; make test installs it, or: pip install -e '.[dev]'" >&2
    exit 1
}
have_font || try_apt fontconfig fonts-liberation || true
have_browser && exit
try_apt chromium && have_browser && exit
try_playwright && have_browser && exit
echo "get-browser: no browser could be had: install Chromium or Google Chrome, so that chromium or google-chrome is on PATH" >&2
exit 1
