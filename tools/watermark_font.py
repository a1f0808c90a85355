"""Make `src/diffuserve/media/fonts/DiffuserveSansSC-Medium.otf` from Noto Sans Hans: fewer characters, another name.

    npm pack @embedpdf/fonts-sc && tar xzf embedpdf-fonts-sc-*.tgz
    pip install fonttools
    python tools/watermark_font.py package/fonts/NotoSansHans-Medium.otf

Kept are Latin-1, general punctuation, and of GB 2312 the punctuation (row 1), the full-width forms (row 3) and all 6763
Chinese characters (rows 16-87). The licence reserves the name "Noto Sans" to the original, so the subset has another.
The same input gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

FAMILY = "Diffuserve Sans SC"
STYLE = "Medium"
TARGET = Path(__file__).parents[1] / "src/diffuserve/media/fonts/DiffuserveSansSC-Medium.otf"
ROWS = (1, 3, *range(16, 88))
LATIN = (*range(0x20, 0x7F), *range(0xA0, 0x100))
PUNCTUATION = tuple(map(ord, "–—‘’“”•…€™"))
# Tables for vertical text, layout features and the signature of the original: a line of a watermark needs none.
NOT_NEEDED = ("vhea", "vmtx", "VORG", "BASE", "DSIG", "GSUB", "GPOS", "GlyphOrder")
CHANGE = "A subset of Noto Sans Hans 1.000, made for diffuserve: fewer characters, no layout tables, another name."
CREDITS = 10
# Ids of the name table: https://learn.microsoft.com/typography/opentype/spec/name
NAMES = {
    1: f"{FAMILY} {STYLE}",
    2: "Regular",
    3: f"1.000;diffuserve;DiffuserveSansSC-{STYLE}",
    4: f"{FAMILY} {STYLE}",
    6: f"DiffuserveSansSC-{STYLE}",
    7: "",
    16: FAMILY,
    17: STYLE,
}


def main(source: Path) -> None:
    font = TTFont(source, recalcTimestamp=False)
    shrink(font)
    rename(font)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    font.save(TARGET)
    sys.stdout.write(f"{TARGET}: {TARGET.stat().st_size} bytes\n")


def shrink(font: TTFont) -> None:
    options = subset.Options()
    options.hinting = False
    options.layout_features = []
    options.notdef_outline = True
    options.name_IDs = ["*"]
    options.drop_tables += NOT_NEEDED
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[*LATIN, *PUNCTUATION, *chinese()])
    subsetter.subset(font)


def chinese() -> list[int]:
    """Code points of the rows, in which a character is a row and a cell of 1 to 94."""
    found = []
    for row in ROWS:
        for cell in range(1, 95):
            text = bytes((0xA0 + row, 0xA0 + cell)).decode("gb2312", errors="ignore")
            found += [ord(character) for character in text]
    return found


def rename(font: TTFont) -> None:
    table = font["name"]
    table.names = [entry for entry in table.names if NAMES.get(entry.nameID) != ""]
    for entry in table.names:
        if entry.nameID in NAMES:
            entry.string = NAMES[entry.nameID]
        elif entry.nameID == CREDITS:
            entry.string = f"{entry.toUnicode()}. {CHANGE}"
    outlines = font["CFF "].cff
    outlines.fontNames = [NAMES[6]]
    top = outlines.topDictIndex[0]
    top.FullName, top.FamilyName = NAMES[4], NAMES[16]
    for index in range(len(top.FDArray)):
        part = top.FDArray[index]
        part.FontName = part.FontName.replace("NotoSansHans", "DiffuserveSansSC")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
