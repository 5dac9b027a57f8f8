# Drives HyperQueue through its Python interface: it publishes no command-line program there.
# One command per line on standard input, one JSON answer per line on standard output.
import json
import sys
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig


def memory():
    """PSS, RSS and private memory of this process, in MB (10^6 bytes)."""
    kib = {}
    with open("/proc/self/smaps_rollup") as rollup:
        for line in rollup:
            words = line.split()
            if words[-1] == "kB":
                kib[words[0].rstrip(":")] = int(words[1])
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return [round(value * 1024 / 1e6, 3) for value in (kib["Pss"], kib["Rss"], private)]


def submit(client, count, program):
    job = Job()
    for _ in range(count):
        job.program(program)
    return client.submit(job)


bare = memory()
directory, cores = sys.argv[1], int(sys.argv[2])
cluster = LocalCluster(directory, WorkerConfig(cores=cores))
client = cluster.client()
answers = sys.stdout
jobs = []
print(json.dumps({"bare": bare}), file=answers, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    start = time.monotonic()
    if request["do"] == "run":
        client.wait_for_jobs([submit(client, request["count"], request["program"])])
    elif request["do"] == "queue":
        jobs.append(submit(client, request["count"], request["program"]))
    elapsed = time.monotonic() - start
    print(json.dumps({"seconds": elapsed, "memory": memory()}), file=answers, flush=True)
# A polite stop waits for running tasks; the benchmark ends this process instead.
