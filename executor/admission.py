"""Which waiting steps may start now: slots, order, then the guard.

Steps start in the plan's order, a slot being refilled as soon as it frees. A later step may
overtake one that waits, but never on the way to the same host: it would take the room that the
plan had for the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from executor.guards import Decision, Verdict, judge_step
from solver.domain.cluster import VM, Cluster
from solver.domain.plan import Step, StepKind
from solver.domain.units import HostId, VmId

_NO_SLOT = Verdict(decision=Decision.WAIT_FOR_SLOT, reason="every slot it needs is taken")
_BEHIND = Verdict(decision=Decision.WAIT_FOR_SLOT, reason="an earlier step comes first")


class Admission:
    """Judges the waiting steps of a plan against one snapshot.

    Parameters
    ----------
    cluster
        The live cluster.
    under_way
        Steps that have begun and not ended.
    pausing
        Steps between two tries.
    waiting
        Steps to be judged or passed over, in the plan's order.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        under_way: Sequence[Step],
        pausing: Sequence[Step],
        waiting: Sequence[Step],
    ) -> None:
        self._cluster = cluster
        self._hosts = {host.id: host for host in cluster.hosts}
        self._vms = {vm.id: vm for vm in cluster.vms}
        self._under_way = list(under_way)
        self._to_come = [*pausing, *waiting]
        self._busy_vms = {step.vm_id for step in (*under_way, *pausing)}
        self._held: set[HostId] = set()

    def judge(self, step: Step) -> tuple[Verdict, Step]:
        """Return the verdict on the next waiting step, and the step as it would be granted.

        To be asked in the plan's order. A step that proceeds counts as under way from here on; one
        that is skipped is forgotten; one that waits holds back later ones to the same host.
        """
        granted = self._grant(step)
        verdict = self._verdict(step, granted)
        if verdict.decision is Decision.PROCEED:
            self._under_way.append(granted)
            self._busy_vms.add(step.vm_id)
            self._to_come.remove(step)
        elif verdict.decision is Decision.SKIP:
            self._to_come.remove(step)
        else:
            self._held.add(step.destination_id)
            # A later step of this VM starts where this one ends.
            self._busy_vms.add(step.vm_id)
        return verdict, granted

    def pass_over(self, step: Step) -> None:
        """Leave the next step where it is, unjudged: only later ones of its VM wait for it."""
        self._busy_vms.add(step.vm_id)

    def vm(self, vm_id: VmId) -> VM:
        """Return a VM of the snapshot."""
        return self._vms[vm_id]

    def _verdict(self, step: Step, granted: Step) -> Verdict:
        if step.vm_id in self._busy_vms or step.destination_id in self._held:
            return _BEHIND
        if not self._slot_free(granted):
            return _NO_SLOT
        to_come = [other for other in self._to_come if other is not step]
        return judge_step(self._cluster, granted, self._under_way, to_come)

    def _grant(self, step: Step) -> Step:
        """Return the step with the bandwidth planned, or what the links carry if that is less."""
        if step.kind is not StepKind.MIGRATE or step.source_id is None:
            return step
        source, destination = self._hosts.get(step.source_id), self._hosts.get(step.destination_id)
        if source is None or destination is None:
            return step
        link = self._cluster.network.link(source, destination)
        most = link.narrowest_mib_per_s(source, destination)
        return replace(step, bandwidth_mib_per_s=min(step.bandwidth_mib_per_s or most, most))

    def _slot_free(self, step: Step) -> bool:
        """Whether caps and links leave room; cheap, so that the guard is asked only if they do."""
        if step.kind is not StepKind.MIGRATE:
            return True
        budget = self._cluster.budget
        moves = [other for other in self._under_way if other.kind is StepKind.MIGRATE]
        leaving = Counter(other.source_id for other in moves)
        entering = Counter(other.destination_id for other in moves)
        if (
            len(moves) >= budget.max_parallel
            or leaving[step.source_id] >= budget.max_parallel_out_per_host
            or entering[step.destination_id] >= budget.max_parallel_in_per_host
        ):
            return False
        for host_id in (step.source_id, step.destination_id):
            host = None if host_id is None else self._hosts.get(host_id)
            if host is None:
                continue
            used = sum(
                other.bandwidth_mib_per_s
                for other in moves
                if host_id in (other.source_id, other.destination_id)
            )
            if used + step.bandwidth_mib_per_s > host.migration_bandwidth_mib_per_s:
                return False
        return True
