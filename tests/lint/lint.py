#!/usr/bin/env python3
"""Checks the house rules over the whole tree. Every message names the remedy. usage: lint.py [ROOT]"""
import pathlib
import re
import subprocess
import sys

import rules
import source

CODE = (".h", ".cpp", ".cu", ".cuh")


def room_of(path):
    best = max((p for p in rules.ROOMS if path.startswith(p)), key=len, default=None)
    return rules.ROOMS.get(best)


def allowed(target, room, table):
    """Whether `target` (a path or header name) is inside one of the room's permitted prefixes."""
    for prefix in table:
        if target == prefix or (prefix.endswith("/") or prefix == "") and target.startswith(prefix):
            # A nested room is permitted only by its own name, except under a whole tree such as coordinator/.
            if room_of(target) == room_of(prefix + "x") or prefix in ("", "coordinator/", "results/"):
                return True
    return False


def check_includes(path, text):
    room = room_of(path)
    if room is None:
        return
    includes = re.findall(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', text, re.M)
    for bracket, name in includes:
        if bracket == '"':
            if "/" not in name:
                yield f'{path}: #include "{name}" is not from the root; write the path from the top folder'
                continue
            target = room_of(name)
            if target not in (None, room) and not allowed(name, room, rules.MAY_INCLUDE[room]):
                yield (f"{path}: room {room} may not include {name} (room {target}); move the shared noun to "
                       f"schemas/, or pass it as an argument (table in tests/lint/rules.py)")
        else:
            for prefix, users in rules.THIRD_PARTY.items():
                if name.startswith(prefix) and room != "tests":
                    if room not in users and not any("/" in u and path.startswith(u) for u in users):
                        yield (f"{path}: <{name}> belongs to {', '.join(sorted(users))}; call that room's "
                               f"interface instead")


def check_own_header_first(path, text):
    if not path.endswith((".cpp", ".cu")) or path.startswith("tests/"):
        return
    own = path.rsplit(".", 1)[0] + ".h"
    includes = re.findall(r'^#include\s+"([^"]+)"', text, re.M)
    if own in includes and includes[0] != own:
        yield f'{path}: include its own header "{own}" first, so that the header stands alone'


def check_shape(path, text):
    lines = text.split("\n")
    if len(lines) > rules.FILE_LINES:
        yield f"{path}: {len(lines)} lines; split it by noun below {rules.FILE_LINES} (300 is long already)"
    if path.endswith(".h") and "#pragma once" not in text:
        yield f"{path}: a header starts with #pragma once"
    for number, line in enumerate(lines, 1):
        if len(line) > rules.COLUMNS:
            yield f"{path}:{number}: {len(line)} columns; wrap at {rules.COLUMNS} (clang-format does)"
        if "\t" in line and not re.search(r"\"[^\"]*\t", line):
            yield f"{path}:{number}: a tab; indent with spaces (clang-format does)"
    for name, first, length, kernel in source.functions(text):
        limit = rules.KERNEL_LINES if kernel else rules.FUNCTION_LINES
        if length > limit:
            yield f"{path}:{first}: {name} has {length} lines; split it by stage, the limit is {limit}"


def check_behaviour(path, text):
    code = source.strip_comments_and_strings(text)
    if room_of(path) == "scheduler":
        for pattern, remedy in rules.PURE_ROOM_BANS.items():
            for match in re.finditer(pattern, code):
                line = code.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: '{match.group(0)}' in the pure scheduler; {remedy}"
    if path.startswith("tests/"):
        return
    if path not in rules.SEAMS and not path.startswith(rules.SEAM_PREFIXES):
        for match in re.finditer(r"\b(catch|throw)\b\s*[\(\w]", code):
            line = code.count("\n", 0, match.start()) + 1
            yield (f"{path}:{line}: {match.group(1)} outside the seams; return a Result<T>, or call the "
                   f"library from a seam file (tests/lint/rules.py lists them)")
    if path not in rules.PROCESS_END_FILES:
        for match in re.finditer(rules.PROCESS_ENDS, code):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: '{match.group(0)}' ends the caller's process; return an Error"


def check_tests(path, text):
    if not path.startswith("tests/") or not path.endswith(".cpp"):
        return
    code = source.strip_comments_and_strings(text)
    for match in re.finditer(r"^(?:TEST|TEST_F|TEST_P)\(\s*(\w+)\s*,\s*(\w+)\s*\)\s*\{", code, re.M):
        body = code[match.end():body_end(code, match.end())]
        if not re.search(r"\b(EXPECT|ASSERT|FAIL|ADD_FAILURE|SUCCEED)|\b\w*(expect|check|verify|claim|invariants)\w*\s*\(",
                         body, re.I):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: test {match.group(2)} asserts nothing; state what must hold or delete it"


def body_end(code, start):
    depth = 1
    for position in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[position], 0)
        if depth == 0:
            return position
    return len(code)


def check_link_targets(path, text):
    if not path.endswith("CMakeLists.txt"):
        return
    for match in re.finditer(r"bitsweep_room\(\s*(\w+)(.*?)\)", re.sub(r"#[^\n]*", "", text), re.S):
        target, rest = match.groups()
        known = rules.MAY_LINK.get(target)
        if known is None:
            yield f"{path}: room target {target} is not in tests/lint/rules.py; add it with its permitted links"
            continue
        linked = re.findall(r"\b(?:bitsweep|third_party)_\w+", rest.split("LINK", 1)[1]) if "LINK" in rest else []
        for name in linked:
            if name not in known:
                yield f"{path}: {target} may not link {name}; keep the direction of design (MAY_LINK in rules.py)"


def check_top_level(files):
    for entry in sorted({f.split("/")[0] for f in files}):
        if entry not in rules.TOP_LEVEL and not entry.startswith("."):
            yield f"{entry}: not a room; the top level is {', '.join(sorted(rules.TOP_LEVEL))} and dot files"


def tracked_files(root):
    listing = subprocess.run(["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"],
                             capture_output=True, text=True, check=True).stdout
    return sorted(f for f in listing.splitlines() if (root / f).is_file())


def lint(root):
    files = tracked_files(root)
    yield from check_top_level(files)
    for path in files:
        if path.endswith(CODE):
            text = (root / path).read_text(encoding="utf-8")
            for check in (check_includes, check_own_header_first, check_shape, check_behaviour, check_tests):
                yield from check(path, text)
        elif path.endswith("CMakeLists.txt"):
            yield from check_link_targets(path, (root / path).read_text())


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    problems = list(lint(root))
    print("\n".join(problems))
    print(f"lint: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
