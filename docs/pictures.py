"""Make the pictures of the README: python docs/pictures.py."""

from __future__ import annotations

from pathlib import Path

import onepfrac
from onepfrac import contact_sheet

FOLDER = Path(__file__).resolve().parent / "pictures"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    sheet = contact_sheet.classes(onepfrac.OnePFrac(), 24, columns=8, tile=120)
    contact_sheet.save(sheet, FOLDER / "classes.png")
    for path in sorted(FOLDER.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
