"""The built programs, run in a folder of their own, and the databases that the browser is shown."""
import os
import pathlib
import sqlite3
import subprocess
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BITSWEEP_BUILD", SOURCE / "build")).resolve()
PROGRAM = BUILD / "bin" / "bitsweep"

# Two small trained models at the settings of the quickstart: about half a minute on one core.
SMALL = [str(SOURCE / "experiments" / "quickstart.yaml"), "--set", "model=[llama-pico, llama-nano]", "--set",
         "gpu=[cpu]"]


class Folder:
    """A folder that nothing of this user's is read from, with programs that end when it goes."""

    def __init__(self):
        self.kept = tempfile.TemporaryDirectory(prefix="bitsweep-browser-")
        self.path = pathlib.Path(self.kept.name)
        self.running = []
        self.environment = {"PATH": os.environ["PATH"], "HOME": self.kept.name, "XDG_CONFIG_HOME": self.kept.name,
                            "XDG_CACHE_HOME": self.kept.name, "XDG_STATE_HOME": self.kept.name}

    def close(self):
        for process in reversed(self.running):
            if process.poll() is None:
                process.terminate()
                process.wait(20)
        self.kept.cleanup()

    def run(self, *words, program=PROGRAM, more=None):
        done = subprocess.run([str(program), *map(str, words)], cwd=self.path, capture_output=True, text=True,
                              env=self.environment | (more or {}), timeout=600, check=False)
        assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stderr[-2000:]}"
        return done.stdout

    def start(self, *words):
        """Starts it and returns the process and the file of its words."""
        words_file = self.path / f"words-{len(self.running)}"
        with open(words_file, "w") as stream:
            self.running.append(subprocess.Popen([str(PROGRAM), *map(str, words)], cwd=self.path, stdout=stream,
                                                 stderr=stream, env=self.environment))
        return self.running[-1], words_file

    def report(self, experiment, database):
        page = self.path / f"{experiment}-{pathlib.Path(database).stem}.html"
        self.run("report", experiment, "--db", database, "-o", page)
        return page


def wait_for(what, seconds=60):
    """The first true answer of `what`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def synthetic(folder):
    """Two cards and a CPU with known laws, other tools' figures beside them: database and page."""
    folder.run("--gtest_filter=Reports.showEveryPlotAndEveryPart", program=BUILD / "tests" / "analysis_test",
               more={"BITSWEEP_REPORT_DIR": str(folder.path)})
    return folder.path / "three-devices.db", folder.path / "three-devices.html"


def ask(database, sql, *values):
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return connection.execute(sql, values).fetchall()
