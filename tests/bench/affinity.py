#!/usr/bin/env python3
"""What it saves that jobs of the same model go to the runner that has it open.

Submits an experiment in parts, one for each combination of the axes --parts: what a script does that asks for one
setting after another. Inside a part jobs of one model stand together, so that without affinity each part opens every
model again. Does it twice, with and without affinity, each with a coordinator, a database and a worker of its own, and
prints for both: how long it took, the share of that time in which the device had a job, models opened, openings saved.
Cards side by side (--gpus 0,1: one for each) measure at the same time, one card or a CPU one after the other.

usage: affinity.py BIN [--experiment experiments/affinity.yaml] [--parts batch,new_tokens] [--gpus 0,1]
                   [--set 'gpu=[H200]'] [--folder DIR]
BIN: the folder of the programs. Ends with 1 when a run failed.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def wait_for(words, log, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if words in log.read_text():
            return
        time.sleep(0.1)
    raise RuntimeError(f"no '{words}' in {log}:\n{log.read_text()}")


def start(words, folder, name, environment, **options):
    log = folder / f"{name}.log"
    with log.open("w") as out:
        return subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder, **options), log


def stop(process):
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def busy_seconds(database):
    """Seconds in which at least one job ran, and from the first start to the last end."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        runs = db.execute("SELECT started_unix_ms, finished_unix_ms FROM runs ORDER BY 1").fetchall()
    busy, end = 0, 0
    for begin, finish in runs:
        busy += max(0, finish - max(begin, end))
        end = max(end, finish)
    return busy / 1000, (end - runs[0][0]) / 1000 if runs else 0


def run(words, environment, folder):
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def experiment_of(arguments):
    return str(pathlib.Path(arguments.experiment).resolve())


def parts_of(bitsweep, arguments, environment):
    """The words that make the experiment each of its parts: a name of its own and one value of every axis in --parts."""
    overrides = [word for override in arguments.set for word in ("--set", override)]
    axes = arguments.parts.split(",") if arguments.parts else []
    listed = run([bitsweep, "plan", experiment_of(arguments), "--list", "--format", "json", *overrides], environment, None)
    settings = sorted({tuple(cell[axis] for axis in axes) for cell in json.loads(listed)})
    for number, setting in enumerate(settings):
        yield overrides + ["--set", f"experiment=part-{number:03}"] + [
            word for axis, value in zip(axes, setting) for word in ("--set", f"{axis}=[{value}]")]


def wait_for_all(status_of, seconds_between=0.5):
    """Until every job of every experiment has ended; the last status."""
    while True:
        status = status_of()
        states = [count for experiment in status["experiments"] for count in experiment["jobs"].items()]
        if not any(state in ("waiting", "running") and jobs for state, jobs in states):
            return status
        time.sleep(seconds_between)


def measure(arguments, affinity, gpu, port):
    folder = pathlib.Path(arguments.folder) / ("with" if affinity else "without")
    folder.mkdir(parents=True)
    url = f"tcp://127.0.0.1:{port}"
    environment = dict(os.environ, HOME=str(folder))
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    bitsweep = str(pathlib.Path(arguments.bin).resolve() / "bitsweep")
    serve_words = [bitsweep, "serve", "--no-keys", "--listen", url, "--db", str(folder / "results.db")]
    server, server_log = start(serve_words + ([] if affinity else ["--no-affinity"]), folder, "serve", environment)
    worker = None
    try:
        wait_for("coordinator at", server_log, server)
        worker, worker_log = start([bitsweep, "worker", "--connect", url, "--state", str(folder / "state"), "--models",
                                    str(ROOT / "experiments/models")], folder, "worker", environment)
        wait_for("waiting for jobs", worker_log, worker)
        begin = time.monotonic()
        for part in parts_of(bitsweep, arguments, environment):
            run([bitsweep, "submit", experiment_of(arguments), "--coordinator", url, *part], environment, folder)
        status = wait_for_all(lambda: json.loads(run(
            [bitsweep, "status", "--coordinator", url, "--format", "json"], environment, folder)))
        wall = time.monotonic() - begin
    finally:
        for process in (worker, server):
            if process is not None:
                stop(process)
    workers = status["workers"]
    busy, span = busy_seconds(folder / "results.db")
    return {"affinity": affinity, "wall_s": wall, "busy_share": busy / span if span else 0,
            "loads": sum(w["loads"] for w in workers), "loads_saved": sum(w["loads_saved"] for w in workers)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin")
    parser.add_argument("--experiment", default=str(ROOT / "experiments/affinity.yaml"))
    parser.add_argument("--parts", default="batch,new_tokens", help="axes; '': the whole experiment at once")
    parser.add_argument("--gpus", default="", help="one card, or two that measure at the same time")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--folder", help="where databases and logs stay (default: nowhere)")
    parser.add_argument("--port", type=int, default=7431)
    arguments = parser.parse_args()
    kept = arguments.folder is not None
    temporary = None if kept else tempfile.TemporaryDirectory()
    arguments.folder = arguments.folder or temporary.name
    gpus = arguments.gpus.split(",") if arguments.gpus else [None]
    plan = [(True, gpus[0]), (False, gpus[-1])]
    with concurrent.futures.ThreadPoolExecutor(2 if len(gpus) > 1 else 1) as pool:
        waiting = [pool.submit(measure, arguments, affinity, gpu, arguments.port + i)
                   for i, (affinity, gpu) in enumerate(plan)]
        try:
            rows = [one.result() for one in waiting]
        except RuntimeError as error:
            sys.exit(f"affinity: {error}")
    print(f"{'affinity':<10}{'seconds':>9}{'busy':>8}{'loads':>7}{'saved':>7}")
    for row in rows:
        print(f"{'with' if row['affinity'] else 'without':<10}{row['wall_s']:>9.1f}{100 * row['busy_share']:>7.1f}%"
              f"{row['loads']:>7}{row['loads_saved']:>7}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
