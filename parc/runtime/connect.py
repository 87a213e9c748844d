"""Joining the group of all ranks: which device a rank takes, how many threads, over which network."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

TIMEOUT = timedelta(minutes=10)  # of a collective, and of the start


def connect(device: str, timeout: timedelta = TIMEOUT) -> None:
    """Joins the default process group that torchrun's environment describes; takes this rank's device."""
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, count_cores() // local_world))
    join_group("env://", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), device, timeout)


def choose_device(local_ranks: int, requested: str | None = None) -> str:
    """The device type for `local_ranks` on this machine: "cuda" where there are GPUs, unless told otherwise.

    Too few GPUs are refused, never shared nor replaced by the CPU in silence.
    """
    gpus = torch.cuda.device_count()  # makes no CUDA context, which would not survive a fork
    device = requested or ("cuda" if gpus else "cpu")
    if device == "cuda" and gpus < local_ranks:
        raise SystemExit(f"{local_ranks} ranks need a GPU each and this machine has {gpus}: use --device cpu")
    return device


def join_group(address: str, rank: int, world: int, device: str, timeout: timedelta) -> None:
    """Initialises the default group, bound to this rank's GPU where there is one."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        init_method=address,
        rank=rank,
        world_size=world,
        timeout=timeout,
        device_id=torch.device("cuda", local) if device == "cuda" else None,
    )


def use_loopback() -> None:
    """All ranks are on this machine: nothing listens on an outer interface, no host name is looked up."""
    interface = "lo" if sys.platform == "linux" else "lo0"
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ[name] = interface


def count_forked_threads(world: int) -> int:
    """Threads of a forked rank: its share of the cores.

    One, if this process has started a thread pool already: OpenMP's does not survive a fork, and a rank that
    used more than one thread would wait for it for ever.
    """
    tasks = Path("/proc/self/task")
    started = len(list(tasks.iterdir())) if tasks.exists() else 1
    return max(1, count_cores() // world) if started == 1 else 1


def count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
