"""Data sheets of the machines in the data: dense FLOP/s in 16 bits, and links a device and direction.

Latencies are of one hop: the all-reduces in the data give 2.7 us within an A100 node, published NCCL tests
5 to 10 us over InfiniBand.
"""

from __future__ import annotations

from parc.cost.job.machine import Link, Machine

HOP, FABRIC_HOP = 3e-6, 8e-6


def _machine(compute: float, memory: float, bandwidth: float, node: float, fabric: float) -> Machine:
    links = (Link(node, HOP), Link(fabric, FABRIC_HOP))
    return Machine(compute=compute, memory=memory, memory_bandwidth=bandwidth, links=links)


# NVIDIA's data sheets, where NVLink's figure is of both directions. vTrain's nodes have 800 Gb/s of
# InfiniBand together, Selene's 200 for each device, DGX H100, B200 and GB200 400, GB300 and B300 800.
# torchtitan's H100 have HBM2e of 2.4 TB/s (its docs/performance.md), and 500 W instead of 700, which nothing
# here counts.
A100_VTRAIN = _machine(312e12, 80e9, 2.039e12, 300e9, 12.5e9)
A100_SELENE = _machine(312e12, 80e9, 2.039e12, 300e9, 25e9)
H100 = _machine(989.5e12, 80e9, 3.35e12, 450e9, 50e9)
H100_TITAN = _machine(989.5e12, 96e9, 2.4e12, 450e9, 50e9)
B200 = _machine(2250e12, 180e9, 7.7e12, 900e9, 50e9)
GB200 = _machine(2450e12, 186e9, 8e12, 900e9, 50e9)
GB300 = _machine(2450e12, 279e9, 8e12, 900e9, 100e9)
B300 = _machine(2250e12, 270e9, 7.7e12, 900e9, 100e9)
