"""Render icon.svg to the PNG icons that the manifest and phones need, in the tests' browser.

python scripts/icons.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.browser import launched  # noqa: E402

WEB = ROOT / "src" / "inkdigits" / "web"
PAPER = "#f6f0e4"  # background of the icon
# Systems crop a maskable icon; only its inner 80% is safe: https://www.w3.org/TR/appmanifest/
SAFE = 0.8
ICONS = {"icon-180.png": (180, 1.0), "icon-192.png": (192, 1.0), "icon-512.png": (512, 1.0)}
ICONS["icon-maskable-512.png"] = (512, SAFE)


def main() -> None:
    svg = (WEB / "icon.svg").read_text(encoding="utf-8")
    with launched() as browser:
        for name, (side, share) in ICONS.items():
            page = browser.new_page(viewport={"width": side, "height": side})
            ground = PAPER if share < 1 else "transparent"
            page.set_content(
                f"<style>body{{margin:0;height:100vh;display:grid;place-items:center;background:{ground}}}"
                f"svg{{width:{100 * share}%;display:block}}</style>{svg}"
            )
            page.screenshot(path=WEB / name, omit_background=share == 1)
            page.close()
            print(f"{WEB / name} {(WEB / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
