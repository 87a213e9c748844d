"""Joining the group of all ranks: the device of a rank, its threads, its network interface."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

TIMEOUT = timedelta(minutes=10)  # of a collective, and of the start
MARGIN = timedelta(seconds=30)


def connect(device: str, timeout: timedelta = TIMEOUT) -> None:
    """Joins the default process group that torchrun's environment describes, and sets this rank's device.

    The store of a static rendezvous outlives a restart of the ranks, and has the addresses of those that are
    gone: each attempt writes below a prefix of its own.
    """
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, count_cores() // local_world))
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    join_group(PrefixStore(f"attempt/{attempt}", store), rank, world, device, timeout)


def choose_device(local_ranks: int, requested: str | None = None) -> str:
    """The device type for `local_ranks` on this machine: the requested one, else "cuda" where there are GPUs.

    Raises:
        SystemExit: there are fewer GPUs than ranks. They are not shared, and the CPU does not replace them.
    """
    gpus = torch.cuda.device_count()  # creates no CUDA context, which would not survive a fork
    device = requested or ("cuda" if gpus else "cpu")
    if device == "cuda" and gpus < local_ranks:
        raise SystemExit(f"{local_ranks} ranks need a GPU each and this machine has {gpus}: use --device cpu")
    return device


def join_group(store: Store, rank: int, world: int, device: str, timeout: timedelta) -> None:
    """Initialises the default group, bound to this rank's GPU where there is one; all ranks call it.

    The ranks meet in `store`.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(local)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=world,
        timeout=timeout,
        device_id=torch.device("cuda", local) if device == "cuda" else None,
    )


def compute_collective_timeout(seconds: float) -> timedelta:
    """The timeout of collectives where a step may take `seconds`: the watchdog ends the run."""
    return timedelta(seconds=seconds) + MARGIN


def use_loopback() -> None:
    """Restricts communication to this machine: no outer interface is opened, no host name is looked up."""
    interface = "lo" if sys.platform == "linux" else "lo0"
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ[name] = interface


def count_forked_threads(world: int) -> int:
    """The threads that a forked rank may use: its share of the cores.

    One, if this process has already started a thread pool. OpenMP's pool does not survive a fork, and a rank
    that used more than one thread would wait for it forever.
    """
    tasks = Path("/proc/self/task")
    started = len(list(tasks.iterdir())) if tasks.exists() else 1
    return max(1, count_cores() // world) if started == 1 else 1


def count_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
