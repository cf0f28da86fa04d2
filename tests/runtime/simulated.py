"""Machines that are not here: files as /sys/devices/system has them, and nodes as runtime.nodes finds them."""

from __future__ import annotations

from pathlib import Path

from runtime.nodes import Node


def nodes(count: int, cores: int) -> list[Node]:
    """So many nodes of so many cores without hyperthreads."""
    return [Node(i, list(range(i * cores, (i + 1) * cores)), cores) for i in range(count)]


def write(root: Path, online: str, cpus: dict[int, str], siblings: dict[int, str]) -> str:
    """Write the nodes that are online, each one's processors, and each processor's core; returns the root."""
    (root / "node").mkdir(parents=True)
    (root / "node" / "online").write_text(online + "\n")
    for number, text in cpus.items():
        (root / "node" / f"node{number}").mkdir()
        (root / "node" / f"node{number}" / "cpulist").write_text(text + "\n")
    for cpu, text in siblings.items():
        (root / "cpu" / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (root / "cpu" / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(text + "\n")
    return str(root)
