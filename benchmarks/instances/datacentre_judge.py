"""A second judge of plans for the public 5,000-server instances, which knows nothing of foreswap.

Reads the instance's own JSON and replays timed steps in plain Python: what each node holds, where
the VMs of each rule are, what has to run and what has to be off. It shares no code with the
solver, its checker, or the reader of the instances, so that none of them can mark its own work.

A VM under way holds both its nodes. What is over at the start may stay as bad as it was; a step
may only make nothing worse, at any instant.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

MIB_PER_S = 100

Key = tuple[str, str, int]
"""What may be broken: its kind, the resource if there is one, and the node, VM or rule."""


@dataclass(frozen=True, slots=True)
class TimedStep:
    """One migration, or one start (``source`` is ``None``), in milliseconds from the beginning."""

    vm: int
    source: int | None
    destination: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much is broken at either end, and what got worse between.

    ``during`` tells what is new or worse than at the start at some instant, and steps that cannot
    be: from where the VM is not, or faster than its memory can be copied.
    """

    before: int
    after: int
    during: tuple[str, ...]


class Judge:
    """One instance, and the nodes that its VMs hold."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            document = json.load(file)
        mapping = document["model"]["mapping"]
        self._held: dict[int, tuple[int, ...]] = dict.fromkeys(mapping["readyVMs"], ())
        for node, guests in mapping["onlineNodes"].items():
            self._held.update((vm, (int(node),)) for vm in guests["runningVMs"])
        self._views = {
            view["rcId"]: view
            for view in document["model"]["views"]
            if view["id"] == "shareableResource"
        }
        self._wanted = {
            (rc, vm): int(view["vms"].get(str(vm), view["defConsumption"]))
            for rc, view in self._views.items()
            for vm in self._held
        }
        self._off = set(mapping["offlineNodes"])
        self._must_run: set[int] = set()
        self._rules: list[tuple[dict[str, Any], dict[int, int]]] = []
        self._part_of: dict[tuple[tuple[int, ...], ...], dict[int, int]] = {}
        self._rules_of: dict[int, list[int]] = defaultdict(list)
        for constraint in document["constraints"]:
            self._read(constraint)
        self._used: Counter[tuple[str, int]] = Counter()
        self._guests: Counter[int] = Counter()
        for vm, nodes in self._held.items():
            for node in nodes:
                self._count(vm, node, 1)

    def judge(self, steps: Sequence[TimedStep]) -> Verdict:
        """Carry out the steps and say what is broken; to be asked once."""
        everything = self._everything()
        before = self._broken(everything)
        worse: list[str] = []
        # What ends at an instant ends before anything starts.
        events = [(s.end_ms, 0, s) for s in steps] + [(s.start_ms, 1, s) for s in steps]
        events.sort(key=lambda event: event[:2])
        for instant_ms, together in groupby(events, key=lambda event: event[0]):
            touched: dict[Key, None] = {}
            for _, starts, step in together:
                if starts:
                    worse += self._start(step)
                else:
                    self._end(step)
                touched.update(dict.fromkeys(self._touched(step)))
            for key, amount in self._broken(touched).items():
                if amount > before.get(key, 0):
                    worse.append(f"{key}: {amount} at {instant_ms} ms")
        return Verdict(len(before), len(self._broken(everything)), tuple(worse))

    def _read(self, constraint: dict[str, Any]) -> None:
        kind = constraint["id"]
        if kind == "preserve":
            key = constraint["rc"], constraint["vm"]
            self._wanted[key] = max(self._wanted[key], constraint["amount"])
        elif kind == "running":
            self._must_run.add(constraint["vm"])
        elif kind == "offline":
            self._off.add(constraint["node"])
        elif kind in ("spread", "among"):
            parts = tuple(map(tuple, constraint.get("parts", ())))
            if parts not in self._part_of:
                self._part_of[parts] = {node: i for i, part in enumerate(parts) for node in part}
            for vm in constraint["vms"]:
                self._rules_of[vm].append(len(self._rules))
            self._rules.append((constraint, self._part_of[parts]))
        else:
            assert kind == "online", f"unknown constraint {constraint}"

    def _everything(self) -> list[Key]:
        nodes = {node for nodes in self._held.values() for node in nodes} | self._off
        return [
            *(("capacity", rc, node) for rc, view in self._views.items() for node in nodes),
            *(("off", "", node) for node in self._off),
            *(("rule", "", i) for i in range(len(self._rules))),
            *(("run", "", vm) for vm in self._must_run),
        ]

    def _touched(self, step: TimedStep) -> list[Key]:
        nodes = [node for node in (step.source, step.destination) if node is not None]
        return [
            *(("capacity", rc, node) for rc in self._views for node in nodes),
            *(("off", "", node) for node in nodes if node in self._off),
            *(("rule", "", i) for i in self._rules_of[step.vm] if self._rules[i][0]["continuous"]),
        ]

    def _broken(self, keys: Iterable[Key]) -> dict[Key, int]:
        amounts = ((key, self._amount(key)) for key in keys)
        return {key: amount for key, amount in amounts if amount > 0}

    def _amount(self, key: Key) -> int:
        kind, rc, number = key
        if kind == "capacity":
            view = self._views[rc]
            return self._used[rc, number] - int(view["nodes"].get(str(number), view["defCapacity"]))
        if kind == "off":
            return self._guests[number]
        if kind == "run":
            return int(not self._held[number])
        constraint, part_of = self._rules[number]
        held = [node for vm in constraint["vms"] for node in self._held[vm]]
        if constraint["id"] == "spread":
            return len(held) - len(set(held))
        parts = Counter(part_of[node] for node in held if node in part_of)
        return len(held) - max(parts.values(), default=0)

    def _start(self, step: TimedStep) -> list[str]:
        held = self._held[step.vm]
        self._held[step.vm] = (*held, step.destination)
        self._count(step.vm, step.destination, 1)
        if held != (() if step.source is None else (step.source,)):
            return [f"{step} starts while the VM is on {held}"]
        least_ms = 0 if step.source is None else self._wanted["memory", step.vm] * 1000 // MIB_PER_S
        if step.end_ms - step.start_ms < least_ms or step.destination in held:
            return [f"{step} is no migration of at least {least_ms} ms"]
        return []

    def _end(self, step: TimedStep) -> None:
        if step.source is not None:
            self._held[step.vm] = (step.destination,)
            self._count(step.vm, step.source, -1)

    def _count(self, vm: int, node: int, change: int) -> None:
        self._guests[node] += change
        for rc in self._views:
            self._used[rc, node] += change * self._wanted[rc, vm]
