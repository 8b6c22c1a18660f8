"""The queries that the READMEs show, asked with the tools that the READMEs name, while a coordinator holds the file.
Every tool must give the rows that `bitsweep query` gives. usage: readme_queries.py BUILD sqlite3|pandas|datasette"""
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.parse

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def run(*words, more=None):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300,
                          env=os.environ | (more or {}), check=False)
    if done.returncode != 0:
        sys.exit(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout


def queries():
    """The ```sql blocks of results/README.md and what stands in quotes behind `query` and `sqlite3` in README.md."""
    blocks = re.findall(r"```sql\n(.*?)```", (SOURCE / "results/README.md").read_text(), re.S)
    lines = re.findall(r'^(?:bitsweep query|sqlite3 \S+) "([^"]+)"', (SOURCE / "README.md").read_text(), re.M)
    assert len(blocks) >= 6 and len(lines) >= 2, "the READMEs no longer show what this test reads"
    return blocks + lines


def by_sqlite3(database, sql):
    return json.loads(run("sqlite3", "-readonly", "-json", database, sql) or "[]")


def by_pandas(database, sql):
    import pandas
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return json.loads(pandas.read_sql(sql, connection).to_json(orient="records", double_precision=15))


def by_datasette(database, sql):
    query = urllib.parse.urlencode({"sql": sql.strip().rstrip(";"), "_shape": "array"})
    return json.loads(run(sys.executable, "-m", "datasette", database, "--get", f"/{database.stem}.json?{query}",
                          "--setting", "sql_time_limit_ms", "60000", "--setting", "max_returned_rows", "100000"))


def equal(one, other):
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other


def differences(sql, wanted, got):
    if len(wanted) != len(got):
        return [f"{len(got)} rows, `bitsweep query` has {len(wanted)}: {sql}"]
    return [f"row {number}, {name}: {right!r}, `bitsweep query` has {left!r}: {sql}"
            for number, (mine, theirs) in enumerate(zip(wanted, got))
            for (name, left), right in zip(mine.items(), theirs.values()) if not equal(left, right)][:3]


TOOLS = {"sqlite3": by_sqlite3, "pandas": by_pandas, "datasette": by_datasette}


def main(build, tool):
    build = pathlib.Path(build).resolve()
    found = shutil.which(tool) if tool == "sqlite3" else importlib.util.find_spec(tool)
    if not found:
        print(f"skipped: {tool} is missing; `.deps/venv/bin/pip install -r tests/browser/requirements.txt` brings it")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="bitsweep-queries-") as folder:
        run(build / "tests/analysis_test", "--gtest_filter=Reports.showEveryPlotAndEveryPart",
            more={"BITSWEEP_REPORT_DIR": folder})
        database = pathlib.Path(folder) / "three-devices.db"
        program = build / "bin/bitsweep"
        with open(pathlib.Path(folder) / "words", "w") as words:
            server = subprocess.Popen([program, "serve", "--db", database, "--no-keys", "--listen",
                                       "tcp://127.0.0.1:0"], stdout=words, stderr=words)
        try:
            wrong, rows = [], 0
            for sql in queries():
                wanted = json.loads(run(program, "query", sql, "--db", database, "--format", "json"))
                got = TOOLS[tool](database, sql)
                wrong += differences(sql, wanted, got)
                rows += len(got)
        finally:
            server.terminate()
            server.wait(20)
    print("\n".join(wrong) or f"{tool}: {len(queries())} queries, {rows} rows, as `bitsweep query` has them")
    return 1 if wrong or rows == 0 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
