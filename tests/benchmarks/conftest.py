"""The benchmarks' own modules, which they import from next to them."""

import sys

from support.paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))  # last, as it has names such as "page"
