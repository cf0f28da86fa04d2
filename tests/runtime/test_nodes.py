"""Memory nodes: machines of many shapes as /sys tells of them, and where a pool's threads go on each."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from runtime import nodes, threads

from . import simulated


def pairs(count):
    """Cores with two hyperthreads each, numbered as most servers do: i and i + count."""
    return {cpu: f"{cpu % count},{cpu % count + count}" for cpu in range(2 * count)}


def found(root, cpus):
    return [(node.number, node.cpus, node.cores) for node in nodes.layout(cpus, root)]


def test_two_nodes_with_hyperthreads(tmp_path):
    root = simulated.write(tmp_path, "0-1", {0: "0-31,64-95", 1: "32-63,96-127"}, pairs(64))
    first, second = nodes.layout(range(128), root)
    assert (first.number, first.cores, second.number, second.cores) == (0, 32, 1, 32)
    assert first.cpus == [*range(32), *range(64, 96)], "one of each core comes first"
    assert second.cpus == [*range(32, 64), *range(96, 128)]


def test_one_node(tmp_path):
    root = simulated.write(tmp_path, "0", {0: "0-3"}, pairs(2))
    assert found(root, {0, 1, 2, 3}) == [(0, [0, 1, 2, 3], 2)]


def test_no_system_to_ask(tmp_path):
    assert found(str(tmp_path / "none"), {4, 9}) == [(0, [4, 9], 2)]


@pytest.mark.parametrize("online", ["", "0-x", "0-1"])
def test_half_a_system(online, tmp_path):
    """What is no list, or names nodes that have no folder, is one node of all."""
    assert found(simulated.write(tmp_path, online, {}, {}), {0, 1}) == [(0, [0, 1], 2)]


def test_eight_nodes_some_without_memory_or_processors(tmp_path):
    """Nodes 4 to 7 are memory alone; 2 is not online; processors 6 and 7 are offline and stand in no list."""
    lists = {0: "0-1", 1: "2-3", 3: "4-5", 4: "", 5: "", 6: "", 7: ""}
    root = simulated.write(tmp_path, "0-1,3-7", lists, {})
    assert found(root, range(6)) == [(0, [0, 1], 2), (1, [2, 3], 2), (3, [4, 5], 2)]


def test_a_container_that_may_use_few(tmp_path):
    root = simulated.write(tmp_path, "0-1", {0: "0-3", 1: "4-7"}, {})
    assert found(root, {5, 6}) == [(1, [5, 6], 2)]
    assert found(root, {3, 4, 99}) == [(0, [3, 99], 2), (1, [4], 1)], "one of no node is somewhere all the same"


def test_this_machine():
    assert sorted(cpu for node in nodes.layout() for cpu in node.cpus) == sorted(os.sched_getaffinity(0))
    assert sum(node.cores for node in nodes.layout()) == threads.physical_cores()


@pytest.mark.parametrize("n", [1, 2, 8, 16, 31, 32])
def test_threads_that_one_node_has_cores_for_are_left_alone(n):
    plan = nodes.plan(n, nodes=simulated.nodes(2, 32))
    assert plan is None if n <= nodes.TOGETHER else plan.cpus == [None] * n


def test_more_are_spread_evenly_whatever_part_of_them_works():
    plan = nodes.plan(64, nodes=simulated.nodes(4, 16))
    for n in range(1, 65):
        count = Counter(plan.members[:n])
        assert max(count.values()) - min(count[j] for j in range(4)) <= 1
    assert [plan.cpus[i] for i in range(4)] == [node.cpus for node in simulated.nodes(4, 16)]
    assert [(node.number, a, b) for node, a, b in plan.shares()] == [(j, j / 4, (j + 1) / 4) for j in range(4)]


def test_unequal_nodes_get_threads_by_their_cores():
    made = [nodes.Node(0, list(range(8)), 8), nodes.Node(1, list(range(8, 32)), 24)]
    plan = nodes.plan(32, nodes=made)
    assert Counter(plan.members) == {0: 8, 1: 24}
    assert Counter(plan.groups) == {0: 8, 1: 12, 2: 12}


def test_groups_are_small_and_of_one_node():
    for count, cores, n in ((1, 96, 96), (2, 32, 64), (2, 64, 96), (8, 4, 32)):
        plan = nodes.plan(n, "distribute", nodes=simulated.nodes(count, cores))
        of_group = {group: {m for g, m in zip(plan.groups, plan.members) if g == group} for group in plan.groups}
        assert all(len(members) == 1 for members in of_group.values())
        assert max(Counter(plan.groups).values()) <= nodes.TOGETHER
        assert sorted(of_group) == list(range(len(of_group)))
        assert [next(iter(of_group[g])) for g in sorted(of_group)] == sorted(next(iter(of_group[g])) for g in of_group)


def test_what_the_flag_says():
    two = simulated.nodes(2, 8)
    assert nodes.plan(4, "distribute", nodes=two).members == [0, 1, 0, 1]
    assert nodes.plan(16, "numactl", nodes=two) is None
    assert nodes.plan(16, nodes=two).members == [0, 1] * 8
    assert nodes.plan(4, "distribute", nodes=simulated.nodes(1, 8)) is None


def test_strict_gives_each_thread_one_processor():
    two = [nodes.Node(0, [0, 1, 4, 5], 2), nodes.Node(1, [2, 3, 6, 7], 2)]
    assert nodes.plan(3, strict=True, nodes=two[:1]).cpus == [[0], [1], [4]]
    assert nodes.plan(8, strict=True, nodes=two).cpus == [[0], [2], [1], [3], [4], [6], [5], [7]]
    assert nodes.plan(9, strict=True, nodes=two).cpus[8] == [0], "more threads than processors share them"


def test_threads_run_where_they_were_bound():
    """Workers and the caller; what is not there binds nobody, and the pool works on."""
    before, mine = os.sched_getaffinity(0), sorted(os.sched_getaffinity(0))[:1]
    plan = nodes.Plan([nodes.Node(0, mine, 1)], [0, 0, 0], [mine, mine, [1000]])
    known = set(os.listdir("/proc/self/task"))
    pool = threads.Pool(3, plan=plan)
    try:
        workers = sorted(set(os.listdir("/proc/self/task")) - known, key=int)
        assert [os.sched_getaffinity(int(w)) for w in workers] == [set(mine), before]
        assert os.sched_getaffinity(0) == before
        pool.settle()
        assert os.sched_getaffinity(0) == set(mine)
    finally:
        os.sched_setaffinity(0, before)
        pool.close()
