"""Run checks in real processes that talk over gloo on this machine."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
START = """
import sys, torch, torch.distributed as dist
sys.path[:0] = [{tests!r}, {root!r}]
from medgraph import processes
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://{file}", rank={rank}, world_size={world})
from {module} import {function}
{function}()
dist.barrier()
dist.destroy_process_group()
from spawned import gloo_threads
assert not gloo_threads(), "threads of gloo are left, and may abort the process as it ends"
"""


def gloo_threads() -> list[str]:
    """Names of this process's threads that exchange for gloo; none where threads cannot be listed."""
    named = Path("/proc/self/task").glob("*/comm")
    return [name for name in (path.read_text().strip() for path in named) if "gloo" in name]


def run_in_processes(module: str, function: str, world: int, folder: Path) -> None:
    """Call `module.function` in `world` processes; AssertionError with their output if one fails."""
    names = {"tests": str(TESTS), "root": str(TESTS.parent), "file": folder / f"meeting-{world}", "world": world}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", START.format(module=module, function=function, rank=rank, **names)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()
    assert all(process.returncode == 0 for process in started), "\n".join(outputs)
