"""Memory nodes: which processors belong to each, and how the threads of a pool are spread over them."""

from __future__ import annotations

import os

from .threads import ROOT, allowed, siblings

TOGETHER = 16  # threads that may count on one cache line: more would wait for each other


class Node:
    """Processors beside one memory that this process may use: `cpus` has one of every core first, of `cores`."""

    __slots__ = ("cores", "cpus", "number")

    def __init__(self, number, cpus, cores):
        self.number, self.cpus, self.cores = number, cpus, cores


class Plan:
    """Where each thread of a pool works: its group, its node (an index), and its processors, None for any."""

    __slots__ = ("cpus", "groups", "members", "nodes")

    def __init__(self, nodes, members, cpus):
        self.nodes, self.members, self.cpus = nodes, members, cpus
        counts = [members.count(j) for j in range(len(nodes))]
        several = [-(-count // TOGETHER) for count in counts]
        seen, self.groups = [0] * len(nodes), []
        for j in members:  # in turns, so that the first threads alone are spread as all of them are
            self.groups.append(sum(several[:j]) + seen[j] % several[j])
            seen[j] += 1

    def shares(self):
        """[(node, first, end)]: what part of every product's rows a node's threads take, as fractions."""
        at = 0
        found: list[tuple] = []
        for j, node in enumerate(self.nodes):
            count = self.members.count(j)
            if count:
                found.append((node, at / len(self.members), (at + count) / len(self.members)))
            at += count
        return found


def keep_to(node):
    """Let the calling thread run on a node's processors only: what it is first to touch lies in that node's memory."""
    try:  # noqa: SIM105 - contextlib would cost every start
        os.sched_setaffinity(0, node.cpus)
    except OSError:
        pass  # processors that went away meanwhile: it works all the same, from farther off


def numbers(text):
    """The numbers that a list such as 0-3,8 names."""
    found: list[int] = []
    for part in text.strip().split(","):
        low, dash, high = part.partition("-")
        if low:
            found += range(int(low), int(high if dash else low) + 1)
    return found


def _online(root):
    """The numbers of the nodes; none where the system does not tell."""
    try:
        with open(f"{root}/node/online") as file:
            return numbers(file.read())
    except (OSError, ValueError):
        return []


def _node(number, cpus, root):
    """A node of these processors, those of cores that had none before first."""
    first, again, cores = list[int](), list[int](), set()
    for cpu in sorted(cpus):
        core = siblings(cpu, root)
        (again if core in cores else first).append(cpu)
        cores.add(core)
    return Node(number, first + again, len(first))


def layout(cpus=None, root=ROOT):
    """The nodes that have some of these processors (by default those allowed); without /sys all are of one."""
    cpus, online, nodes = allowed() if cpus is None else set(cpus), _online(root), list[Node]()
    left = set(cpus)
    try:
        for number in online if len(online) > 1 else ():
            with open(f"{root}/node/node{number}/cpulist") as file:
                here = left.intersection(numbers(file.read()))
            left -= here
            if here:
                nodes.append(_node(number, here, root))
    except (OSError, ValueError):  # half a system: as if there were no nodes
        nodes, left = [], set(cpus)
    if not nodes:
        return [_node(0, cpus, root)]
    if left:  # processors of no node: they are somewhere
        nodes[0] = _node(nodes[0].number, left.union(nodes[0].cpus), root)
    return nodes


def plan(n, numa="", strict=False, nodes=None):
    """How n threads are to work: a Plan, or None where they are few on one node and the system places them.

    Several nodes are used when all of n threads do not fit the cores of the largest, or with numa "distribute"; each
    thread then keeps to its node, with `strict` to one processor. With "numactl" the system places them.
    """
    if nodes is None:
        if n <= TOGETHER and not strict and len(_online(ROOT)) < 2:
            return None  # one look is all that most machines need
        nodes = layout()
    spread = len(nodes) > 1 and numa != "numactl" and (numa == "distribute" or n > max(node.cores for node in nodes))
    if not spread:
        cpus = [cpu for node in nodes for cpu in node.cpus[: node.cores]]
        cpus += [cpu for node in nodes for cpu in node.cpus[node.cores :]]
        if n <= TOGETHER and not strict:
            return None
        return Plan([Node(-1, cpus, len(cpus))], [0] * n, [[cpus[i % len(cpus)]] if strict else None for i in range(n)])
    used, members, cpus = [0] * len(nodes), [], []
    for _ in range(n):  # to the node that is least full
        j = min(range(len(nodes)), key=lambda j: (used[j] + 1) / nodes[j].cores)
        members.append(j)
        cpus.append([nodes[j].cpus[used[j] % len(nodes[j].cpus)]] if strict else nodes[j].cpus)
        used[j] += 1
    return Plan(nodes, members, cpus)
