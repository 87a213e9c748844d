"""`import "parc:h100"`: machines that come with parc, and clusters that are made of them."""

from __future__ import annotations

import pytest

from parc.check.load import Loaded, load_text
from parc.plan.imports import list_machines
from parc.source import Source
from parc.syntax.format import format_source

REST = """
model m { source = "m.py:M", shape { layers = 4 } }
train t { model = m, batch { sequences = 32, length = 8 } }
"""


def load_cluster(cluster: str, ranks: int = 16) -> Loaded:
    plan = f"plan p for t on c {{\n  mesh = [dp: {ranks}]\n  data over [dp]\n}}\n"
    return load_text(Source("plan.parc", f"{cluster}\n{REST}\n{plan}"))


def test_a_cluster_is_made_of_a_machine() -> None:
    found = load_cluster('import "parc:h100"\ncluster c { machine = h100, levels = [fabric: 2, node: 8] }')

    assert not found.diagnostics
    cluster = found.plans[0].cluster
    assert cluster.device is not None
    # 1,979 TFLOPS with sparsity / 2; 3.35 TB/s; NVLink 900 GB/s both ways / 2; 400 Gb/s / 8
    assert cluster.device.compute == 989.5e12
    # What CUDA reports of 80 GB, and its context.
    assert (cluster.device.memory, cluster.device.reserved) == (79.1 * 2**30, 2**29)
    assert cluster.device.usable == 78.6 * 2**30
    assert (cluster.device.compute_fp32, cluster.device.compute_fp64) == (67e12, 67e12)
    assert cluster.device.memory_bandwidth == 3.35e12
    assert {link.level: link.bandwidth for link in cluster.links} == {"node": 450e9, "fabric": 50e9}


def test_what_the_cluster_says_goes_before_the_machine() -> None:
    found = load_cluster("""
        import "parc:h100"
        cluster c {
          machine = h100, levels = [fabric: 2, node: 8]
          device { memory = 70 GB, reserved = 0 B, compute_fp32 = 60 TFLOPS }
          link fabric { bandwidth = 25 GB/s, latency = 9 us }
        }""")

    assert not found.diagnostics
    cluster = found.plans[0].cluster
    assert cluster.device is not None
    assert (cluster.device.memory, cluster.device.usable, cluster.device.compute) == (70e9, 70e9, 989.5e12)
    assert (cluster.device.compute_fp32, cluster.device.compute_fp64) == (60e12, 67e12)
    links = {link.level: (link.bandwidth, link.latency) for link in cluster.links}
    assert links == {"fabric": (25e9, 9e-6), "node": (450e9, None)}


def test_a_level_that_the_cluster_lacks_has_no_link() -> None:
    found = load_cluster('import "parc:gb200"\ncluster c { machine = gb200, levels = [node: 4] }', ranks=4)

    assert [link.level for link in found.plans[0].cluster.links] == ["node"]


@pytest.mark.parametrize(
    ("machine", "least", "most"),  # GiB that CUDA or ROCm report, on the machines that were seen
    [
        ("a100", 79.1, 79.4),
        ("h100", 79.1, 79.4),
        ("h200", 139.7, 139.9),
        ("b200", 178.3, 178.4),
        ("gb200", 184.3, 187.3),
        ("mi300x", 191.6, 192.0),
    ],
)
def test_a_device_has_the_memory_that_its_driver_reports(machine: str, least: float, most: float) -> None:
    device = (
        load_cluster(
            f'import "parc:{machine}"\ncluster c {{ machine = {machine}, levels = [fabric: 4, node: 4] }}'
        )
        .plans[0]
        .cluster.device
    )
    assert device is not None
    assert device.memory is not None
    assert least <= device.memory / 2**30 <= most
    assert device.reserved


@pytest.mark.parametrize(
    "device", ["device { memory = 400 MiB }", "device { memory = 1 GB, reserved = 1 GB }"]
)
def test_not_all_of_the_memory_is_reserved(device: str) -> None:
    (fault,) = load_cluster(
        f'import "parc:h100"\ncluster c {{ machine = h100, levels = [fabric: 2, node: 8], {device} }}'
    ).diagnostics
    assert (fault.code, fault.message) == (
        "P111",
        "the memory of a device must be more than what is reserved of it",
    )


@pytest.mark.parametrize("name", list_machines())
def test_every_machine_is_whole(name: str) -> None:
    found = load_cluster(
        f'import "parc:{name}"\ncluster c {{ machine = {name}, levels = [fabric: 4, node: 4] }}'
    )

    assert not found.diagnostics
    cluster = found.plans[0].cluster
    assert cluster.machine is not None
    assert cluster.device is not None
    assert cluster.device.compute is not None
    assert cluster.device.memory is not None
    assert cluster.device.memory_bandwidth is not None
    assert {link.level for link in cluster.machine.links} == {
        "fabric",
        *(level.name for level in cluster.machine.levels),
    }
    # A device computes 100 to 500 FLOP in the time that its memory gives a byte: another power of ten would
    # be a slip of the pen.
    assert 100 < cluster.device.compute / cluster.device.memory_bandwidth < 500
    # Four to thirty-five times as much in 16 bits as in 32, without the rounding of TF32; fp64 is no faster.
    assert cluster.device.compute_fp32 is not None
    assert cluster.device.compute_fp64 is not None
    assert 4 < cluster.device.compute / cluster.device.compute_fp32 < 35
    assert 0.4 < cluster.device.compute_fp64 / cluster.device.compute_fp32 <= 1
    source = next(source for source in found.sources if source.path == f"parc:{name}")
    assert format_source(source) == source.text


def test_the_library_has_the_machines_that_people_train_on() -> None:
    assert {"a100", "h100", "h200", "b200", "gb200", "mi300x"} <= set(list_machines())


@pytest.mark.parametrize(
    ("wanted", "help"),
    [
        ("parc:h10", 'did you mean "parc:h100"?'),
        ("parc:", f"available: {', '.join(list_machines())}"),
        ("parc:../facts", f"available: {', '.join(list_machines())}"),
    ],
)
def test_what_the_library_lacks(wanted: str, help: str) -> None:
    (fault,) = load_cluster(f'import "{wanted}"\ncluster c {{ levels = [node: 16] }}').diagnostics

    assert (fault.code, fault.help) == ("P112", help)
    assert fault.span is not None
    assert fault.span.text == f'"{wanted}"'


def test_an_unknown_machine_is_a_fault_at_its_name() -> None:
    (fault,) = load_cluster(
        'import "parc:h100"\ncluster c { machine = h101, levels = [node: 16] }'
    ).diagnostics

    assert (fault.code, fault.help) == ("P101", "did you mean `h100`?")


def test_a_machine_is_named_not_written_out() -> None:
    found = load_cluster('cluster c { machine = "h100", levels = [node: 16] }').diagnostics

    assert [fault.code for fault in found] == ["P106"]


def test_a_node_has_no_more_devices_than_the_machine() -> None:
    (fault,) = load_cluster(
        'import "parc:h100"\ncluster c { machine = h100, levels = [node: 16] }'
    ).diagnostics

    assert (fault.code, fault.message) == ("P260", "a node of `h100` has 8 devices, not 16")
    assert [(label.span.source.path, label.span.text) for label in fault.labels] == [
        ("plan.parc", "node: 16"),
        ("parc:h100", "node: 8"),
    ]
