"""Public reassignment instances cost and forbid, compiled, what the public checker says."""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.instances.machine_reassignment import (
    compile_model,
    read_assignment,
    read_model,
    read_problem,
    write_assignment,
)
from solver.domain.errors import InvalidInputError
from solver.problem import IntArray, Problem

MODEL = """2
0 10 1 20
3
0 7 10 12 8 9 0 1 5
0 7 10 12 8 9 1 0 5
4 2 12 9 9 7 3 3 0
3
2 0
1 1 0
1 0
4
0 3 1 2
0 2 2 1
1 1 4 3
2 2 1 1
1
0 1 2 10
1 10 100
"""
"""Three machines in two locations, three services of which the second needs the first."""


@pytest.fixture(scope="module")
def checker(shared_data: Path) -> ModuleType:
    """The public checker, read where it lies."""
    path = shared_data / "machine_reassignment" / "checker.py"
    spec = importlib.util.spec_from_file_location("machine_reassignment_checker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slow_total(problem: Problem, hosts: IntArray) -> int:
    """Return the cost of a placement by the meaning of the problem's arrays alone."""
    load = np.zeros_like(problem.future.threshold)
    np.add.at(load, hosts, problem.future.demand)
    excess = np.maximum(0, load - problem.future.threshold)
    everyone = np.arange(problem.num_vms)
    moved = hosts != problem.start
    most_moved = int(np.bincount(problem.app_group[moved]).max()) if moved.any() else 0
    return (
        int((excess * problem.future.prices[0]).sum())
        + sum(
            int(problem.move_rows(part)[np.arange(len(part)), hosts[part]].sum())
            for part in np.array_split(everyone, max(1, problem.num_vms // 500))
        )
        + problem.disruption_price * most_moved
    )


def slow_feasible(problem: Problem, hosts: IntArray) -> bool:
    """Return whether a placement is allowed, by the meaning of the problem's arrays alone."""
    used = np.zeros_like(problem.capacity)
    np.add.at(used, hosts, problem.reserved[0])
    moved = hosts != problem.start
    np.add.at(used, problem.start[moved], problem.reserved[0, moved] * problem.held)
    limits = [(rule.amount(hosts), rule.limit) for rule in problem.group_rules]
    return bool((used <= problem.reserved_limit).all()) and all(
        limit is not None and amount <= limit for amount, limit in limits
    )


def written(folder: Path, text: str, initial: list[int]) -> tuple[Path, Path]:
    """Write a model and an initial assignment."""
    model_path, initial_path = folder / "model.txt", folder / "initial.txt"
    model_path.write_text(text, encoding="ascii")
    write_assignment(initial_path, np.array(initial))
    return model_path, initial_path


def random_model(rng: np.random.Generator) -> tuple[str, list[int]]:
    """Return a small model of every feature, and an assignment that keeps its rules mostly."""
    num_resources, num_machines, num_services, num_processes = rng.integers(1, [4, 6, 5, 9])
    rows = [[num_resources]]
    rows += [[rng.integers(0, 2), rng.integers(0, 20)] for _ in range(num_resources)]
    rows.append([num_machines])
    for m in range(num_machines):
        capacity = rng.integers(8, 30, num_resources)
        move = rng.integers(0, 3, num_machines)
        move[m] = 0
        safe = rng.integers(0, capacity)
        rows.append([*rng.integers(0, num_machines, 2), *capacity, *safe, *move])
    service = rng.integers(0, num_services, num_processes)
    rows.append([num_services])
    for s in range(num_services):
        needed = rng.choice(num_services, rng.integers(0, 2), replace=False)
        rows.append([rng.integers(0, 1 + (service == s).sum()), len(needed), *needed])
    rows.append([num_processes])
    for s in service:
        rows.append([s, *rng.integers(0, 6, num_resources), rng.integers(0, 9)])
    num_balances = rng.integers(0, 3)
    rows.append([num_balances])
    rows += [
        [*rng.integers(0, num_resources, 2), rng.integers(0, 4), rng.integers(0, 20)]
        for _ in range(num_balances)
    ]
    rows.append([1, 10, 100])
    initial = rng.integers(0, num_machines, num_processes)
    return "\n".join(" ".join(map(str, row)) for row in rows) + "\n", initial.tolist()


def agree(checker: ModuleType, paths: tuple[Path, Path], hosts: IntArray) -> bool:
    """Assert that cost and feasibility are the checker's; return whether it is feasible."""
    problem = read_problem(*paths)
    model = checker.Model(str(paths[0]))
    feasible = not any(model.violations(problem.start, hosts).values())
    assert slow_feasible(problem, hosts) == feasible
    assert slow_total(problem, hosts) == model.costs(problem.start, hosts)["total"]
    return feasible


@pytest.mark.parametrize("seed", range(150))
def test_random_instances_are_judged_as_by_the_checker(
    checker: ModuleType, tmp_path: Path, seed: int
) -> None:
    """Any assignment, allowed or not, costs what the checker says and is allowed where it is."""
    rng = np.random.default_rng(seed)
    text, initial = random_model(rng)
    paths = written(tmp_path, text, initial)
    num_machines = len(read_model(paths[0]).location)
    agree(checker, paths, np.array(initial))
    for _ in range(5):
        agree(checker, paths, rng.integers(0, num_machines, len(initial)))


def test_every_assignment_of_a_small_instance(checker: ModuleType, tmp_path: Path) -> None:
    """All 81 assignments are judged alike; some are allowed and some are not."""
    paths = written(tmp_path, MODEL, [0, 2, 0, 1])
    answers = {agree(checker, paths, np.array(hosts)) for hosts in np.ndindex(3, 3, 3, 3)}
    assert answers == {True, False}


@pytest.mark.parametrize("name", ["a1_4", "a2_2"])
def test_a_public_instance(
    checker: ModuleType, shared_data: Path, tmp_path: Path, name: str
) -> None:
    """The initial assignment is allowed; it and a few random moves cost what the checker says."""
    archive = shared_data / "machine_reassignment" / "instances_a.tar.xz"
    with tarfile.open(archive) as files:
        for file in (f"model_{name}.txt", f"assignment_{name}.txt"):
            files.extract(file, tmp_path, filter="data")
    paths = tmp_path / f"model_{name}.txt", tmp_path / f"assignment_{name}.txt"
    hosts = read_assignment(paths[1])
    assert agree(checker, paths, hosts)
    rng = np.random.default_rng(0)
    moved = rng.integers(0, len(hosts), 20)
    hosts[moved] = hosts[rng.permutation(moved)]
    agree(checker, paths, hosts)


def test_machines_that_are_alike_share_a_class(tmp_path: Path) -> None:
    """Equal rows and columns of the matrix of moves are one class; all different, none."""
    alike = MODEL.replace(" 0 1 5", " 0 0 5").replace(" 1 0 5", " 0 0 5")
    model_path, _ = written(tmp_path, alike, [])
    problem = compile_model(read_model(model_path), np.array([0, 2, 0, 1]))
    assert problem.move_costs.border.shape == (2, 2)
    assert problem.move_rows(np.arange(2)).tolist() == [[0, 2, 502], [301, 301, 0]]
    model_path, _ = written(tmp_path, MODEL, [])
    problem = compile_model(read_model(model_path), np.array([0, 2, 0, 1]))
    assert problem.move_costs.border.shape == (3, 3)


def test_an_assignment_reads_back(tmp_path: Path) -> None:
    """What is written is what is read."""
    write_assignment(tmp_path / "new.txt", np.array([3, 0, 12]))
    assert read_assignment(tmp_path / "new.txt").tolist() == [3, 0, 12]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODEL.replace("1 10 100", "1 10"), "ends after 65 numbers, expected at least 66"),
        (MODEL + "7", "67 numbers, expected 66"),
        (MODEL.replace("20", "x"), "expected whole numbers only"),
        (MODEL.replace(" 3 3 0", " 3 3 1"), "moving from a machine to itself must cost 0"),
        ("2", "ends after 1 numbers, expected at least 5"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A file that is cut short, goes on, or holds other things is named with what is wrong."""
    path, _ = written(tmp_path, text, [])
    with pytest.raises(InvalidInputError, match=message):
        read_model(path)


@pytest.mark.parametrize("initial", [[0, 1, 2], [0, 1, 2, 3], [0, 1, -1, 2]])
def test_an_assignment_of_another_model_is_refused(tmp_path: Path, initial: list[int]) -> None:
    """Too few processes, and machines that do not exist, are refused."""
    with pytest.raises(InvalidInputError, match=r"expected the model's 4|must be in 0 to 2"):
        read_problem(*written(tmp_path, MODEL, initial))
