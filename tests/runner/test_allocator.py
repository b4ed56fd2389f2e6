import os
import subprocess
import sys

PROGRAM = """
import resource, torch
from medgraph.runner.allocator import keep_freed_memory
kept = {call}
for _ in range(20):
    torch.ones(16 << 20)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(16 << 20)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(call: str, **environment: str) -> tuple[str, int]:
    """What the call said, and how many pages twenty blocks of 64 MiB took anew."""
    command = [sys.executable, "-c", PROGRAM.format(call=call)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    kept, count = run.stdout.split()
    return kept, int(count)


def test_blocks_of_a_step_are_used_again_in_the_next():
    _, plain = faults("None")
    kept, kept_faults = faults("keep_freed_memory()")
    if kept == "True":  # glibc
        assert kept_faults < plain / 20
    else:
        assert kept_faults <= 2 * plain


def test_what_the_user_set_stays():
    assert faults("keep_freed_memory()", MALLOC_MMAP_THRESHOLD_="1048576")[0] == "False"
