#!/usr/bin/env python3
"""Jobs that do nothing through bitsweep, Parsl and Dask, by turns on this machine.

Each has 4 worker processes. bitsweep (bench_dispatch) speaks CURVE and answers after the commit to disk; Parsl's
HighThroughputExecutor speaks CURVE with 10 jobs ahead of each worker and keeps nothing; Dask neither encrypts nor keeps.
A peer whose package is missing is left out and named. `pip install parsl distributed` gives both.

usage: orchestrators.py BENCH_DISPATCH [--jobs 10000] [--rounds 2]
"""
import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time

WORKERS = 4
AHEAD = 10  # jobs on their way to each of Parsl's workers


def nothing(number):
    return number


def figures(submit, wait, jobs):
    """Jobs a second from the first submit to the last result, and milliseconds of one job at a time (p50, p99)."""
    wait([submit(i) for i in range(100)])  # processes and connections are there
    begin = time.perf_counter()
    futures = [submit(i) for i in range(jobs)]
    submitted = time.perf_counter()
    wait(futures)
    done = time.perf_counter()
    trips = []
    for i in range(500):
        start = time.perf_counter()
        wait([submit(jobs + i)])
        trips.append((time.perf_counter() - start) * 1e3)
    return {"jobs_per_s": jobs / (done - begin), "submit_s": submitted - begin, "trip_ms_p50": statistics.median(trips),
            "trip_ms_p99": statistics.quantiles(trips, n=100)[98]}


def parsl_figures(jobs):
    import parsl
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider
    executor = HighThroughputExecutor(
        address="127.0.0.1", max_workers_per_node=WORKERS, cores_per_worker=0.1, encrypted=True, prefetch_capacity=AHEAD,
        provider=LocalProvider(init_blocks=1, max_blocks=1))
    with parsl.load(parsl.Config(executors=[executor], strategy="none")):
        app = parsl.python_app(nothing)
        return figures(app, lambda futures: [future.result() for future in futures], jobs)


def dask_figures(jobs):
    import distributed
    with distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None,
                                  silence_logs=logging.ERROR) as cluster, distributed.Client(cluster) as client:
        return figures(lambda i: client.submit(nothing, i, pure=False), distributed.wait, jobs)


def bitsweep_figures(program, jobs):
    words = [program, "--jobs", str(jobs), "--idle", "1", "--json"]
    said = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return {"jobs_per_s": said[f"jobs_per_s_{jobs}"], "submit_s": said[f"submit_s_{jobs}"],
            "trip_ms_p50": said["round_trip_p50_ms"], "trip_ms_p99": said["round_trip_p99_ms"]}


def measured(name, options):
    """In a process of its own: a peer leaves threads and settings behind."""
    words = [sys.executable, os.path.abspath(__file__), options.bench_dispatch, "--jobs", str(options.jobs), "--one", name]
    # Parsl looks for its own programs on PATH and writes its logs where it stands.
    environment = os.environ | {"PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]}
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ended.returncode == 0:
        return json.loads(ended.stdout.splitlines()[-1])
    why = ended.stderr.strip().splitlines()
    print(f"{name}: left out: {why[-1] if why else ended.returncode}", file=sys.stderr)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench_dispatch", help="the program bench_dispatch")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", choices=["bitsweep", "parsl", "dask"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.bench_dispatch = os.path.abspath(options.bench_dispatch)
    systems = {"bitsweep": lambda: bitsweep_figures(options.bench_dispatch, options.jobs),
               "parsl": lambda: parsl_figures(options.jobs), "dask": lambda: dask_figures(options.jobs)}
    if options.one:
        print(json.dumps(systems[options.one]()))
        return 0
    rounds = {name: [] for name in systems}
    for _ in range(options.rounds):
        for name in systems:
            if one := measured(name, options):
                rounds[name].append(one)
    print(f"{'':10} {'jobs/s':>20} {'bitsweep over it':>18} {'one at a time, ms p50 / p99':>30} {'submit, s':>14}")
    ours = statistics.median(one["jobs_per_s"] for one in rounds["bitsweep"])
    for name, all_of in rounds.items():
        if all_of:
            rates = [one["jobs_per_s"] for one in all_of]
            middle = {key: statistics.median(one[key] for one in all_of) for key in all_of[0]}
            print(f"{name:10} {', '.join(f'{rate:,.0f}' for rate in rates):>20} {ours / middle['jobs_per_s']:>17.1f}x "
                  f"{middle['trip_ms_p50']:>21.2f} / {middle['trip_ms_p99']:.2f} {middle['submit_s']:>16.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
