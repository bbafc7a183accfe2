"""Timing whole processes side by side: interleaved rounds, medians, ratios. Only ratios of one run mean anything."""

import os
import statistics
import subprocess
import time

ROUNDS = int(os.environ.get("ROUNDS", "20"))
WARM_UPS = 3


def once(command, env=None):
    """Wall milliseconds of one run of a command, its output thrown away."""
    begin = time.perf_counter()
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begin) * 1000


def interleaved(commands, rounds=ROUNDS, between=None):
    """Medians and minima in ms of several commands run in turn, by name."""
    times = {name: [] for name in commands}
    for number in range(rounds + WARM_UPS):
        for name, command in commands.items():
            if between:
                between(name)
            taken = once(command) if isinstance(command, list) else command()
            if number >= WARM_UPS:
                times[name].append(taken)
    return {name: (statistics.median(values), min(values)) for name, values in times.items()}


def show(title, figures, base):
    """Prints a table with each figure's ratio to `base`."""
    print(f"\n{title}")
    for name, (median, least) in figures.items():
        print(f"  {name:44s} {median:9.2f} ms  (min {least:8.2f})  {median / figures[base][0]:6.2f} x {base}")


def memory_of(pid):
    """Private memory and proportional share of a process, in KiB; both 0 for one that is gone."""
    fields = {}
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            next(file)
            for line in file:
                name, value, *_ = line.split()
                fields[name.rstrip(":")] = int(value)
    except OSError:
        return 0, 0
    return fields["Private_Clean"] + fields["Private_Dirty"], fields["Pss"]
