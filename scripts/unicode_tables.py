#!/usr/bin/env python3
"""Writes worker/inference/unicode_{classes,nfc}.inc, the tables of the tokenizer.

usage: scripts/unicode_tables.py            (needs Unicode 16: Python 3.14, or `pip install unicodedata2==16.0.0`)

Unicode 16 is what the regular expressions of Hugging Face tokenizers 0.22 and 0.23 know (Oniguruma 6.9.10): their
\\p{L}, \\p{N} and \\s were compared with these tables over all code points. The text normaliser NFC is stable across
versions for characters that existed.
"""
import pathlib
import sys

try:
    import unicodedata2 as data
except ImportError:
    import unicodedata as data

OTHER, LETTER, NUMBER, NUMBER_OTHER, SPACE, WORD = range(6)
# The property White_Space (PropList.txt) and, for "word characters", the symbols with Other_Alphabetic.
WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
ALPHABETIC_SYMBOLS = {*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A), *range(0x1F170, 0x1F18A)}
JOINERS = {0x200C, 0x200D}


def char_class(code):
    if code in WHITE_SPACE:
        return SPACE
    category = data.category(chr(code))
    if category[0] == "L":
        return LETTER
    if category in ("Nd", "Nl"):
        return NUMBER
    if category == "No":
        return NUMBER_OTHER
    if category[0] == "M" or category == "Pc" or code in JOINERS or code in ALPHABETIC_SYMBOLS:
        return WORD
    return OTHER


def runs(value_of):
    out = []
    for code in range(0x110000):
        value = value_of(code)
        if not out or out[-1][1] != value:
            out.append((code, value))
    return out


def rows(cells, per_line):
    return "\n".join("    " + " ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line))


def table(name, kind, cells, per_line, comment):
    return f"// {comment}\ninline constexpr {kind} {name}[] = {{\n{rows(cells, per_line)}\n}};\n"


def main():
    if data.unidata_version.split(".")[0] != "16":
        sys.exit(f"this Python knows Unicode {data.unidata_version}; install unicodedata2==16.0.0")
    head = "// Unicode 16, written by scripts/unicode_tables.py. Do not edit.\n// clang-format off\n"
    folder = pathlib.Path(__file__).resolve().parent.parent / "worker" / "inference"

    classes = [f"0x{code << 3 | value:X}," for code, value in runs(char_class)]
    text = table("char_class_runs", "std::uint32_t", classes, 10, "First code point of a run << 3 | its CharClass.")
    (folder / "unicode_classes.inc").write_text(head + text)

    combining = [f"0x{code << 8 | value:X}," for code, value in runs(lambda c: data.combining(chr(c)))]
    decompositions, excluded = [], []
    for code in range(0x110000):
        mapping = data.decomposition(chr(code))
        if not mapping or mapping.startswith("<") or 0xAC00 <= code < 0xD7A4:
            continue
        parts = [int(part, 16) for part in mapping.split()]
        decompositions.append("{0x%X,0x%X,0x%X}," % (code, parts[0], parts[1] if len(parts) > 1 else 0))
        if len(parts) > 1 and data.normalize("NFC", chr(code)) != chr(code):
            excluded.append(f"0x{code:X},")
    text = table("combining_runs", "std::uint32_t", combining, 10, "First code point of a run << 8 | its combining class.")
    text += table("decompositions", "Decomposition", decompositions, 5, "One canonical step: code point, first, second (0: none).")
    text += table("never_composed", "char32_t", excluded, 12, "Pairs that NFC does not put together again.")
    (folder / "unicode_nfc.inc").write_text(head + text)


if __name__ == "__main__":
    main()
