"""Data sheets of the machines in the data: dense FLOP/s in 16 bits; links for each device and direction.

Latencies are those of one hop: 2.7 us within an A100 node by the all-reduces in the data, 5 to 10 us over
InfiniBand by published NCCL tests.
"""

from __future__ import annotations

from parc.cost.job.hardware import Hardware, LinkSpeed

NODE_LATENCY, FABRIC_LATENCY = 3e-6, 8e-6


def _build_hardware(compute: float, memory: float, bandwidth: float, node: float, fabric: float) -> Hardware:
    """FLOP/s, bytes, and bytes a second: of memory, of a link in the node, of a link beyond it."""
    links = (LinkSpeed(node, NODE_LATENCY), LinkSpeed(fabric, FABRIC_LATENCY))
    return Hardware(peak_flops=compute, memory=memory, memory_bandwidth=bandwidth, links=links)


# From NVIDIA's data sheets, whose figure of NVLink is the sum of both directions. vTrain's nodes have 800
# Gb/s of InfiniBand together, Selene's 200 for each device, DGX H100, B200 and GB200 400, GB300 and B300
# 800. torchtitan's H100 have HBM2e of 2.4 TB/s (its docs/performance.md), and 500 W instead of 700, which
# nothing here counts.
A100_VTRAIN = _build_hardware(312e12, 80e9, 2.039e12, 300e9, 12.5e9)
A100_SELENE = _build_hardware(312e12, 80e9, 2.039e12, 300e9, 25e9)
H100 = _build_hardware(989.5e12, 80e9, 3.35e12, 450e9, 50e9)
H100_TITAN = _build_hardware(989.5e12, 96e9, 2.4e12, 450e9, 50e9)
B200 = _build_hardware(2250e12, 180e9, 7.7e12, 900e9, 50e9)
GB200 = _build_hardware(2450e12, 186e9, 8e12, 900e9, 50e9)
GB300 = _build_hardware(2450e12, 279e9, 8e12, 900e9, 100e9)
B300 = _build_hardware(2250e12, 270e9, 7.7e12, 900e9, 100e9)
