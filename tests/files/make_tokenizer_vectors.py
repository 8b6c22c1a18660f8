#!/usr/bin/env python3
"""Makes vectors/tokenizer_cases.json: what Hugging Face `tokenizers` says about difficult texts.

usage: tests/files/make_tokenizer_vectors.py [random texts] [output]
(needs tokenizers 0.23 and Unicode 16: Python 3.14, or unicodedata2 16.0.0)

  texts      written by hand, then seeded random mixtures of difficult characters
  cuts       pattern -> for each text the lengths, in characters, of the words of its pre-tokenizer
  nfc        for each text its normal form C, or null when that is the text itself
  variants   changes to experiments/models/tokenizer.json, and the ids of each text after them
  all        FNV-1a hashes over all code points: their classes, and the normal form of each with two marks; except the
             ranges `newer`: marks that the normaliser of tokenizers, whose tables are older, does not put in order
"""
import json
import pathlib
import random
import sys

try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

HERE = pathlib.Path(__file__).resolve().parent
BASE = HERE.parent.parent / "experiments" / "models" / "tokenizer.json"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

TEXTS = [
    "", " ", "  ", "a", " a", "a ", "\n", "\r\n", "\n\n\n", " \n ", "\t\tx", "x\t\t", "a\n b", "a \n  b", "a\r\n\r\nb",
    "Hello, how are you?", "It's we'll THEY'RE I'D can't 'tis rock'n'roll it'S'T 'LL 've", "'", "''s", " 's", "'\u017fx", "a'\ufb05",
    "12345678 3.14 1,000,000 2\u00b2 \u00bd \u2163 \u0663\u0664\u0665 x1y22z333", "   three   spaces   ", "tabs\tand\u00a0nbsp\u2003em\u3000wide",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u65e5\u672c\u8a9e\u30c6\u30b9\u30c8", "\ud55c\uad6d\uc5b4 \u1112\u1161\u11ab", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1e9\U0001f1ea", "na\u00efve caf\u00e9 cafe\u0301 \u212b \u1e9b\u0323 q\u0307\u0323", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "def f(x):\n    return x**2  # square\n\n\tif (a && b) { c += 1; }\r\n", "https://example.org/a_b?c=d&e=%20#f", "--- *** ___ ... !!! ?!?!", "a_b_c __init__ CamelCase snake_case UPPER",
    "\u2028line\u2029par\u0085next\u200bzero\ufeffbom", "\x00\x01\x1f\x7f", "<|endoftext|>", "a<|endoftext|>b <|endoftext|> c", "<|endoftext|", "<pad><pad> <pad>", "\U00031350\U0002ebf0 \U0001e5d0 \u1c89",
    "the mask <mask> here", "the mask   <mask>   here", "premask maskpost mask", "<mask><mask>  <mask>", "x<mask>y", "cafe\u0301<mask>", "word \u00e9tude \u0065\u0301tude \u00e9tudes",
]
ALPHABET = [*"aZ09 '\n\r\t.,!_-", " ", " ", "'s", "'LL", "'t", "\u00e9", "e\u0301", "\u00df", "\u017f", "\u4f60", "\ud55c", "\u1112\u1161", "\u0e32", "\u064e", "\u00b2", "\u2163", "\u0663", "\u00bd",
            "\u00a0", "\u3000", "\u2028", "\u0085", "\u200d", "\u200b", "\ufe0f", "\U0001f600", "\u20ac", "$", "<mask>", "<|endoftext|>", "\u0327", "\u0301", "\x1c", "123", "the", " the"]


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern):
    return {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, byte_level(regex=False)]}


DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level()]}
MASKS = [
    {"id": 4096, "content": "<mask>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False, "special": True},
    {"id": 4097, "content": "mask", "single_word": True, "lstrip": False, "rstrip": False, "normalized": True, "special": False},
    {"id": 4098, "content": "<mask><mask>", "single_word": False, "lstrip": False, "rstrip": True, "normalized": False, "special": False},
    {"id": 4099, "content": "\u00e9tude", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False},
]
VARIANTS = {
    "as it is": {},
    "gpt2 with a prefix space": {"pre_tokenizer": byte_level(prefix=True)},
    "llama3": {"pre_tokenizer": split(LLAMA3), "ignore_merges": True},
    "qwen2": {"pre_tokenizer": split(QWEN2), "normalizer": {"type": "NFC"}},
    "smollm2": {"pre_tokenizer": DIGITS},
    "no pattern": {"pre_tokenizer": byte_level(regex=False)},
    "added tokens": {"added_tokens": MASKS},
    "added tokens and nfc": {"added_tokens": MASKS, "normalizer": {"type": "NFC"}},
}


def apply(change):
    document = json.loads(BASE.read_text())
    document["added_tokens"] += change.get("added_tokens", [])
    for key in ("pre_tokenizer", "normalizer"):
        document[key] = change.get(key, document[key])
    document["model"]["ignore_merges"] = change.get("ignore_merges", False)
    if document["model"]["ignore_merges"]:  # words that the merges cannot make: only a look at the whole word finds them
        document["model"]["vocab"] |= {"\u0120xyzzy": 4096, "123": 4097}
    return Tokenizer.from_str(json.dumps(document))


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def scalar_values():
    return [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def class_hash():
    """0 other, 1 letter, 2 number, 3 space for each code point."""
    classes = bytearray(0x110000)
    for value, pattern in ((1, r"\p{L}"), (2, r"\p{N}"), (3, r"\s")):
        keep = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
        codes = scalar_values()
        for start in range(0, len(codes), 4096):
            for word, _ in keep.pre_tokenize_str("".join(map(chr, codes[start : start + 4096]))):
                for char in word:
                    classes[ord(char)] = value
    return fnv(classes)


def nfc_hash():
    assert unicodedata.unidata_version.startswith("16."), unicodedata.unidata_version
    form = normalizers.NFC()
    value, newer = bytearray(), []
    for code in scalar_values():
        text = chr(code) + "\u0327\u0301\n"
        normal = form.normalize_str(text)
        if normal == unicodedata.normalize("NFC", text):
            value += normal.encode()
        else:
            assert unicodedata.combining(chr(code)) and normal == text, hex(code)
            if newer and newer[-1][1] == code - 1:
                newer[-1][1] = code
            else:
                newer.append([code, code])
    return fnv(value), newer


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    output = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "vectors" / "tokenizer_cases.json"
    rng = random.Random(7)
    texts = TEXTS + ["".join(rng.choices(ALPHABET, k=rng.randint(1, 16))) for _ in range(count)] + ["a xyzzy 123 1234 xyzzy"]
    form = normalizers.NFC()
    cutters = {
        "gpt2": pre_tokenizers.Split(Regex(GPT2), "isolated"),
        "llama3": pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        "qwen2": pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        "smollm2": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Split(Regex(GPT2), "isolated")]),
    }
    cuts = {name: [[len(word) for word, _ in cutter.pre_tokenize_str(text)] if text else [] for text in texts] for name, cutter in cutters.items()}
    nfc = [None if form.normalize_str(text) == text else form.normalize_str(text) for text in texts]
    variants = []
    for name, change in VARIANTS.items():
        tokenizer = apply(change)
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        variants.append({"name": name, "change": change, "ids": ids})
    nfc_all, newer = nfc_hash()
    everything = {"classes": class_hash(), "nfc": nfc_all, "newer": newer}
    parts = [f'"texts": {json.dumps(texts)}', f'"nfc": {json.dumps(nfc)}', f'"all": {json.dumps(everything)}']
    parts += [f'"cuts": {{\n' + ",\n".join(f'"{name}": {json.dumps(c, separators=(",", ":"))}' for name, c in cuts.items()) + "\n}"]
    parts += ['"variants": [\n' + ",\n".join(json.dumps(v, separators=(",", ":")) for v in variants) + "\n]"]
    output.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
