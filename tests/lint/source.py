"""A source file as the lint sees it: lines, code without comments and strings, functions and their lengths."""
import re

CONTROL = {"if", "for", "while", "switch", "catch", "return", "sizeof", "alignof", "decltype", "else", "do"}


def strip_comments_and_strings(text):
    """The same text with comments, string and character literals blanked; line numbers are kept."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^()\s\\]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.S)

    def blank(match):
        return "".join("\n" if c == "\n" else " " for c in match.group(0))

    return pattern.sub(blank, text)


def strip_preprocessor(code):
    lines, continued = [], False
    for line in code.split("\n"):
        directive = continued or line.lstrip().startswith("#")
        continued = directive and line.rstrip().endswith("\\")
        lines.append("" if directive else line)
    return "\n".join(lines)


def functions(text):
    """(name, first line, number of lines, is_kernel) of every function body outside other functions."""
    code = strip_preprocessor(strip_comments_and_strings(text))
    found, stack, line, head_start, inside = [], [], 1, 0, 0
    for position, char in enumerate(code):
        if char == "\n":
            line += 1
        elif char in ";":
            if not inside:
                head_start = position + 1
        elif char == "{":
            head = code[head_start:position]
            name = None if inside else function_name(head)
            stack.append((name, line, head))
            inside += name is not None or inside > 0
            if not inside:
                head_start = position + 1
        elif char == "}":
            if not stack:
                continue
            name, start, head = stack.pop()
            if inside:
                inside -= 1
            if name is not None:
                first = start - head.strip().count("\n")
                found.append((name, first, line - first + 1, "__global__" in head or "__device__" in head))
            if not inside:
                head_start = position + 1
    return found


def function_name(head):
    """The function that `head {` would define, or None for a type, namespace, initialiser or control block."""
    head = " ".join(head.split())
    if "(" not in head or re.search(r"(^|[\s>])(class|struct|enum|union|namespace)\s[^(]*$", head):
        return None
    if re.search(r"=\s*$|\breturn\s*$", head):
        return None
    match = re.search(r"(~?[\w:]+|operator\s*\S+)\s*\(", re.sub(r"\b__\w+__\b(\s*\([^)]*\)\s*\)?)?|\balignas\s*\([^)]*\)", "", head))
    if not match or match.group(1).split("::")[-1] in CONTROL:
        return None
    return match.group(1)
