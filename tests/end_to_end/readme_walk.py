"""The experiment that the README shows, walked through as a new user would: what each command's comment promises is
what it says. usage: readme_walk.py BUILD RUNNER   (RUNNER computes nothing: the walk is about which cells run)"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def section(text, title):
    return text[text.index(f"**{title}**"):].split("\n**", 1)[0]


class Walk:
    def __init__(self, build, runner, folder):
        self.folder = folder
        programs = pathlib.Path(build).resolve() / "bin"
        self.environment = {**os.environ, "BITSWEEP_RUNNER": str(pathlib.Path(runner).resolve()), "NO_COLOR": "1",
                            "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder),
                            "PATH": f"{programs}:{os.environ['PATH']}"}

    def shell(self, line, code=0):
        done = subprocess.run(line, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True,
                              check=False, timeout=120)
        assert done.returncode == code, f"{line}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def runs(self):
        return int(self.shell("bitsweep query 'select count(*) from runs' --format csv").split()[1])


def check(walk, yaml, commands):
    plan, part, why, rest, more = commands
    (walk.folder / "readme.yaml").write_text(yaml)
    walk.shell("bitsweep diff readme.yaml experiments/example.yaml")  # exit 0: the same cells
    assert re.search(r"cells +12\b", walk.shell(plan)), "12 cells"
    assert "8 to run" in walk.shell(part) and walk.runs() == 8, "8 of them"
    said = walk.shell(why)
    assert said.count("method nf4 is new here") == 4 and said.count(" done") >= 8, said
    walk.shell(rest)
    assert walk.runs() == 12, "the 4"
    walk.shell(more)
    assert walk.runs() == 18, "its 6 cells and no other"
    # Back to the file: nothing runs, and what was asked for once is still there.
    walk.shell(rest)
    assert walk.runs() == 18
    assert len(walk.shell("bitsweep query --view v_former --format csv").splitlines()) == 7


def check_mistake(walk, text, yaml):
    wrong = yaml.replace("batch:", "bacth:")
    (walk.folder / "example.yaml").write_text(wrong)
    said = walk.shell("bitsweep run example.yaml", code=2)
    shown = re.search(r"``(example\.yaml:\d+:\d+: .*?\?)``", text).group(1)
    assert shown in said, f"the README shows {shown}, the program says {said}"
    assert walk.runs() == 18, "nothing has run"


def main(build, runner):
    text = section((SOURCE / "README.md").read_text(), "Write an experiment")
    yaml, first, second = (block for _, block in re.findall(r"```(yaml|sh)\n(.*?)```", text, re.S))
    with tempfile.TemporaryDirectory(prefix="bitsweep-walk-") as name:
        walk = Walk(build, runner, pathlib.Path(name))
        shutil.copytree(SOURCE / "experiments", walk.folder / "experiments", ignore=shutil.ignore_patterns("data"))
        check(walk, yaml, first.splitlines())
        check_mistake(walk, text, yaml)
        (walk.folder / "old.yaml").write_text(yaml)
        (walk.folder / "new.yaml").write_text(yaml.replace("[1, 4]", "[1, 4, 8]"))
        difference, explain, schema = second.splitlines()
        assert "6 added" in walk.shell(difference, code=1)
        assert "experiments/example.yaml" in walk.shell(explain)
        walk.shell(schema)
        assert (walk.folder / "experiment.schema.json").stat().st_size > 10_000
    print("what the README shows of an experiment is what happens")


if __name__ == "__main__":
    main(*sys.argv[1:])
