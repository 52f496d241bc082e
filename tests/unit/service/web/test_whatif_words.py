"""Answers to what-if questions in words."""

from __future__ import annotations

import json
from typing import Any

from service.web import whatif_words as words
from service.whatif.answer import answer
from service.whatif.futures import Foreseen
from service.whatif.question import AddedVms, HostsQuestion, Question, RoomQuestion
from service.whatif.work import whatif_document
from solver.capacity.question import HostType
from solver.domain.units import HostId
from solver.params import SolveParams
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def answered(question: Question, *, cores: float = 2.0) -> dict[str, Any]:
    """Return the answer about three hosts with two VMs each, as it is kept."""
    vms = [make_vm(f"v{i}", f"h{1 + i // 2}", cores=4, memory_gib=30) for i in range(6)]
    cluster = make_cluster([make_host(f"h{h}") for h in (1, 2, 3)], vms)
    futures = make_scenarios(cluster, {vm.id: cores for vm in vms})
    params = SolveParams(limit_s=1.0, work_limit=0.2)
    foreseen = Foreseen(scenarios=futures, forecaster="boosted", source="the kept forecast")
    document = whatif_document(answer(cluster, question, futures, params), foreseen)
    told: dict[str, Any] = json.loads(json.dumps(document))
    return told


def test_a_lost_host_side_by_side() -> None:
    """What VMs lack while nothing is started, what it takes, and that no further loss is borne."""
    found = answered(Question(lost_host_ids=(HostId("h1"),)))
    short = next(row for row in words.compared(found) if row["name"] == "CPU short, cores")
    assert (short["before"], short["unmoved"], short["after"]) == ("0.00", "4.00", "0.00")
    assert words.takes(found).startswith("2 starts in ")
    assert {row["kind"] for row in words.moves(found)} == {"start"}
    assert words.survives(found).startswith("Not N+1: the loss of h")
    memory = next(row for row in words.left(found) if row["name"] == "Memory, GiB")
    assert (memory["capacity"], memory["promised"]) == ("200", "180")
    assert "by boosted: the kept forecast." in words.judged_by(found)


def test_further_questions_are_sentences() -> None:
    """How many more fit, and how many hosts are needed."""
    flavour = AddedVms(template=make_vm("new", None, cores=1, memory_gib=10), count=1)
    types = (HostType(template=make_host("big"), price=1),)
    question = Question(room=RoomQuestion(vms=flavour), hosts_needed=HostsQuestion(types=types))
    found = answered(question)
    assert "more VMs of this flavour fit" in words.fits(found)
    assert words.needed(found).startswith("Hosts needed: ")
    assert " like big" in words.needed(found)
    assert words.takes(found) == "Nothing has to be moved."
    assert words.hosts(found) == []


def test_questions_that_were_not_asked_are_not_answered() -> None:
    """Nothing is said about them."""
    found = answered(Question())
    assert (words.fits(found), words.needed(found)) == ("", "")
