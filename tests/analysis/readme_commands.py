"""Every command that a README shows exists, and `--help` of that command knows each of its flags.
usage: readme_commands.py BUILD [FILES...]"""
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SHOWN = re.compile(r"(?:^|[`\s/])(bitsweep(?:-runner)?) +([a-z][a-z-]*)((?:[^`\n#]|\\`)*)")


def help_of(build, program, command):
    done = subprocess.run([build / "bin" / program, command, "--help"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode == 0 else None


def shown(text):
    """(program, command, flags) of each line of a code block or code span, lines that end in a backslash joined."""
    code = re.findall(r"```sh\n(.*?)```", text, re.S) + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    for line in "\n".join(code).replace("\\\n", " ").splitlines():
        for program, command, rest in SHOWN.findall(line):
            yield program, command, re.findall(r"(?<![\w-])--([a-z][a-z-]*)", re.sub(r"'[^']*'|\"[^\"]*\"", "", rest))


def main(build, *files):
    build = pathlib.Path(build).resolve()
    files = [pathlib.Path(file) for file in files] or sorted(
        file for file in SOURCE.rglob("README.md") if not any(part.startswith((".", "build")) for part in
                                                              file.relative_to(SOURCE).parts[:-1]))
    helps, wrong, checked = {}, [], 0
    for file in files:
        for program, command, flags in shown(file.read_text()):
            key = program, command
            if key not in helps:
                helps[key] = help_of(build, program, command)
            if helps[key] is None:
                wrong.append(f"{file}: `{program} {command}` does not exist")
                continue
            checked += 1
            wrong += [f"{file}: `{program} {command}` has no --{flag}" for flag in flags
                      if not re.search(rf"--{flag}\b", helps[key]) and flag not in ("help", "version")]
    print("\n".join(dict.fromkeys(wrong)) or f"{checked} commands in {len(files)} files exist with the flags that they show")
    return 1 if wrong or checked < 10 * (len(files) > 5) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
