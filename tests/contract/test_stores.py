"""Every store keeps every promise of ``service.store.base``; telemetry has a module of its own."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from executor.records import PlanBegun
from service.store import engine
from service.store.base import (
    Answer,
    AuditEntry,
    Credential,
    Document,
    Item,
    Job,
    JobStage,
    KeptPlan,
    Kind,
    PlanStage,
    Snapshot,
    UnreadSnapshot,
)
from service.store.errors import ConflictError, NotFoundError, StoreError
from service.store.long_json import LONG
from service.store.sql import SqlStore, open_store
from solver.domain.errors import InvalidInputError, NotEnoughHistoryError
from tests.builders import NOW
from tests.executor_builders import make_plan, migrate
from tests.histories import make_history
from tests.postgresql import PostgreSQL

SPAWN = multiprocessing.get_context("spawn")
NASTY = ["ä", "a", "Z", "z", "é", "10", "9", " ", "a/b", "%", "'", '"', "\U0001f600", "￿"]


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    """An empty store of each kind."""
    store = open_store(store_url)
    yield store
    store.close()


def rule(item_id: str = "r1", *, document: Document | None = None, cluster: str = "c1") -> Item:
    """Return a rule that was not written yet."""
    return Item(
        kind=Kind.RULE,
        cluster_id=cluster,
        id=item_id,
        document={"x": 1} if document is None else document,
        changed_at=NOW,
        changed_by="eve",
    )


def plan(plan_id: str, *, minutes: int = 0, stage: PlanStage = PlanStage.PROPOSED) -> KeptPlan:
    """Return a plan made some minutes from now."""
    return KeptPlan(
        id=plan_id,
        cluster_id="c1",
        made_at=NOW + timedelta(minutes=minutes),
        stage=stage,
        trigger="manual",
        document={"steps": []},
    )


def job(job_id: str, *, minutes: int = 0, asked_by: str = "eve") -> Job:
    """Return a queued job asked for some minutes from now."""
    return Job(
        id=job_id,
        kind="solve",
        asked_by=asked_by,
        asked_at=NOW + timedelta(minutes=minutes),
        stage=JobStage.QUEUED,
        request={"limit_s": 3},
    )


def credential(credential_id: str, digest: str, expires_at: datetime | None = None) -> Credential:
    """Return a token."""
    return Credential(
        id=credential_id,
        kind="token",
        digest=digest,
        subject="eve",
        document={"role": "viewer"},
        made_at=NOW,
        expires_at=expires_at,
    )


def entry(subject: str, cluster: str = "c1") -> AuditEntry:
    """Return an entry of the log."""
    return AuditEntry(
        at=NOW, actor="eve", action="rules.put", cluster_id=cluster, subject=subject, after={"x": 1}
    )


# Transactions --------------------------------------------------------------------------------


def test_a_transaction_takes_effect_as_a_whole(store: SqlStore) -> None:
    """What raises leaves nothing behind: neither the change nor its entry."""

    def fail() -> None:
        with store.begin() as tx:
            tx.items.put(rule(), expected_revision=0)
            tx.audit.append(entry("rules/r1"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.begin(read_only=True) as tx:
        assert tx.items.page(Kind.RULE, "c1", limit=10) == []
        assert tx.audit.page(limit=10) == []


def test_what_was_written_is_there_after_opening_anew(store: SqlStore, store_url: str) -> None:
    """By another store on the same database, to the microsecond and the last character."""
    at = NOW.replace(microsecond=123457)
    document = {"text": 'ü\n"\\', "numbers": [1, -2.5, 1e300, None, True], "deep": {"": {}}}
    written = replace(rule(document=document), changed_at=at)
    with store.begin() as tx:
        tx.items.put(written, expected_revision=0)
    again = open_store(store_url)
    with again.begin(read_only=True) as tx:
        assert tx.items.get(Kind.RULE, "c1", "r1") == replace(written, revision=1)
    again.close()


def test_a_transaction_within_a_transaction_is_refused(store: SqlStore) -> None:
    """It would wait for itself; the outer one goes on."""
    with store.begin() as tx:
        with pytest.raises(RuntimeError, match="open already"), store.begin():
            raise AssertionError("began")
        tx.items.put(rule(), expected_revision=0)
    with store.begin() as tx:
        assert tx.items.get(Kind.RULE, "c1", "r1").revision == 1


def test_readers_see_one_instant_and_wait_for_nobody(store: SqlStore) -> None:
    """A reader that began before a change does not see it, while the writer is still at it too."""
    with store.begin() as tx:
        tx.items.put(rule(), expected_revision=0)
    with store.begin(read_only=True) as reader:
        reader.items.get(Kind.RULE, "c1", "r1")
        with store.begin() as writer:
            writer.items.put(rule(document={"x": 2}), expected_revision=1)
            assert reader.items.get(Kind.RULE, "c1", "r1").document == {"x": 1}
        assert reader.items.get(Kind.RULE, "c1", "r1").document == {"x": 1}
    with store.begin(read_only=True) as reader:
        assert reader.items.get(Kind.RULE, "c1", "r1").document == {"x": 2}


def test_readers_cannot_write(store: SqlStore) -> None:
    """What was meant to be read alone stays as it is, and the next writer can write."""
    with pytest.raises(StoreError, match=r"read-?only"), store.begin(read_only=True) as tx:
        tx.items.put(rule(), expected_revision=None)
    with store.begin() as tx:
        assert tx.items.put(rule(), expected_revision=0).revision == 1


def test_a_writer_that_stands_still_does_not_stop_the_others(
    postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends it, its changes are not there, and it is told."""
    monkeypatch.setattr(engine, "_TAKE_TURN", text(str(engine._TAKE_TURN).replace("10s", "200ms")))
    url = postgresql_server.new_database()
    store, other = open_store(url), open_store(url)

    def stand_still() -> None:
        with store.begin() as tx:
            tx.items.put(rule(), expected_revision=None)
            with other.begin() as later:
                later.items.put(rule("r2"), expected_revision=None)

    with pytest.raises(StoreError, match="idle-in-transaction"):
        stand_still()
    with other.begin(read_only=True) as tx:
        assert [item.id for item in tx.items.page(Kind.RULE, "c1", limit=9)] == ["r2"]
    store.close()
    other.close()


def add_ones(store: SqlStore, times: int) -> None:
    """Count up one document, a transaction each, and log every change."""
    for _ in range(times):
        with store.begin() as tx:
            found = tx.items.find(Kind.RULE, "c1", ["sum"]).get("sum", rule("sum"))
            changed = replace(found, document={"x": int(found.document["x"]) + 1})
            tx.items.put(changed, expected_revision=found.revision)
            tx.audit.append(entry("rules/sum"))


def add_ones_to(url: str, times: int) -> None:
    """Count up in a process of its own."""
    store = open_store(url)
    add_ones(store, times)
    store.close()


def _in_threads(store: SqlStore, url: str) -> None:
    threads = [threading.Thread(target=add_ones, args=(store, 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_processes(store: SqlStore, url: str) -> None:
    processes = [SPAWN.Process(target=add_ones_to, args=(url, 40)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


@pytest.mark.parametrize("run", [_in_threads, _in_processes], ids=["threads", "processes"])
def test_no_change_is_lost_among_parallel_writers(
    store: SqlStore, store_url: str, run: Callable[[SqlStore, str], None]
) -> None:
    """Eighty times one is eighty, and the log has an entry for each, without a gap."""
    run(store, store_url)
    with store.begin(read_only=True) as tx:
        found = tx.items.get(Kind.RULE, "c1", "sum")
        numbers = [each.number for each in tx.audit.page(limit=100)]
    assert (found.document, found.revision) == ({"x": 81}, 80)
    assert numbers == list(range(80, 0, -1))


def test_of_parallel_editors_of_one_revision_one_wins(store: SqlStore) -> None:
    """All others are told, and what they wrote is nowhere."""
    with store.begin() as tx:
        seen = tx.items.put(rule(), expected_revision=0)
    won, lost = [], []
    together = threading.Barrier(4)

    def edit(number: int) -> None:
        together.wait()
        try:
            with store.begin() as tx:
                changed = replace(seen, document={"by": number})
                tx.items.put(changed, expected_revision=seen.revision)
            won.append(number)
        except ConflictError as error:
            lost.append(error.revision)

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), lost) == (1, [2, 2, 2])
    with store.begin(read_only=True) as tx:
        assert tx.items.get(Kind.RULE, "c1", "r1").document == {"by": won[0]}


# Items ---------------------------------------------------------------------------------------


def test_revisions_count_changes(store: SqlStore) -> None:
    """From 1 on, and from 1 again after it was removed."""
    with store.begin() as tx:
        assert tx.items.put(rule(), expected_revision=0).revision == 1
        assert tx.items.put(rule(), expected_revision=1).revision == 2
        assert tx.items.put(rule(), expected_revision=None).revision == 3
        assert tx.items.delete(Kind.RULE, "c1", "r1", expected_revision=3).revision == 3
        assert tx.items.put(rule(), expected_revision=None).revision == 1


@pytest.mark.parametrize("expected", [0, 1, 3, 10**30])
def test_an_item_at_another_revision_is_not_changed(store: SqlStore, expected: int) -> None:
    """The error carries the revision that stands."""
    with store.begin() as tx:
        tx.items.put(rule(), expected_revision=None)
        tx.items.put(rule(document={"x": 2}), expected_revision=None)
    with pytest.raises(ConflictError, match="'r1' of cluster 'c1'") as put, store.begin() as tx:
        tx.items.put(rule(document={"x": 3}), expected_revision=expected)
    with pytest.raises(ConflictError) as deleted, store.begin() as tx:
        tx.items.delete(Kind.RULE, "c1", "r1", expected_revision=expected)
    assert put.value.revision == deleted.value.revision == 2
    with store.begin(read_only=True) as tx:
        assert tx.items.get(Kind.RULE, "c1", "r1").document == {"x": 2}


def test_what_is_not_there_is_told(store: SqlStore) -> None:
    """By name; and changing what was removed is a conflict."""
    with store.begin() as tx:
        with pytest.raises(NotFoundError, match="rule 'r1' of cluster 'c1'"):
            tx.items.get(Kind.RULE, "c1", "r1")
        with pytest.raises(NotFoundError):
            tx.items.delete(Kind.RULE, "c1", "r1", expected_revision=None)
        with pytest.raises(ConflictError) as error:
            tx.items.put(rule(), expected_revision=4)
        assert error.value.revision == 0


def test_items_of_other_kinds_and_clusters_are_others(store: SqlStore) -> None:
    """The same id may stand for many."""
    other = replace(rule(), kind=Kind.SCHEDULE)
    with store.begin() as tx:
        for item in (rule(), rule(cluster="c2"), other):
            tx.items.put(item, expected_revision=0)
        assert [item.kind for item in tx.items.page(Kind.SCHEDULE, "c1", limit=9)] == [other.kind]
        assert len(tx.items.page(Kind.RULE, "c1", limit=9)) == 1


def test_pages_go_through_all_items_in_one_order(store: SqlStore) -> None:
    """The order of code points, on every database, whatever the names."""
    with store.begin() as tx:
        for name in NASTY:
            tx.items.put(rule(name), expected_revision=0)
        seen: list[str] = []
        while page := tx.items.page(Kind.RULE, "c1", after=seen[-1] if seen else "", limit=3):
            seen += [item.id for item in page]
        assert seen == sorted(NASTY)
        assert set(tx.items.find(Kind.RULE, "c1", [*NASTY, "none"])) == set(NASTY)


def test_many_items_are_found_at_once(store: SqlStore) -> None:
    """More than a database takes in one question."""
    with store.begin() as tx:
        tx.items.put(rule("7"), expected_revision=0)
        assert list(tx.items.find(Kind.RULE, "c1", map(str, range(40_000)))) == ["7"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_are_no_text_are_refused(store: SqlStore, name: str) -> None:
    """Alike on every database, whether they are written or asked for."""
    with pytest.raises(InvalidInputError, match="whole Unicode"), store.begin() as tx:
        tx.items.put(rule(name), expected_revision=0)
    with pytest.raises(InvalidInputError), store.begin(read_only=True) as tx:
        tx.items.get(Kind.RULE, "c1", name)


def test_documents_are_json_values(store: SqlStore) -> None:
    """What JSON does not know is refused; what it knows is kept, odd characters too."""
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises(InvalidInputError, match="JSON"), store.begin() as tx:
            tx.items.put(rule(document=bad), expected_revision=0)
    odd = {"a\0b": "\ud800"}
    with store.begin() as tx:
        tx.items.put(rule(document=odd), expected_revision=0)
        assert tx.items.get(Kind.RULE, "c1", "r1").document == odd


def test_instants_need_a_zone(store: SqlStore) -> None:
    """A naive one could mean any of many instants."""
    naive = replace(rule(), changed_at=NOW.replace(tzinfo=None))
    with pytest.raises(InvalidInputError, match="zone"), store.begin() as tx:
        tx.items.put(naive, expected_revision=0)


def test_many_items_are_written_at_once(store: SqlStore) -> None:
    """New ones and changed ones, each by its revision."""
    with store.begin() as tx:
        tx.items.put(rule("old"), expected_revision=0)
        old = replace(rule("old", document={"x": 2}), revision=1)
        tx.items.put_all([old, rule("new"), rule("new", cluster="c2")])
        found = tx.items.find(Kind.RULE, "c1", ["old", "new"])
        assert found == {"old": replace(old, revision=2), "new": replace(rule("new"), revision=1)}
        tx.items.put_all([])
        assert tx.items.delete_of(Kind.RULE, "c1") == 2
        assert tx.items.delete_of(Kind.RULE, "c1") == 0
        assert tx.items.get(Kind.RULE, "c2", "new").revision == 1


def test_of_many_items_all_are_written_or_none(store: SqlStore) -> None:
    """One that stands at another revision is named."""
    items = [rule(str(number)) for number in range(1000)]
    with store.begin() as tx:
        tx.items.put_all(items)
    edits = [replace(item, revision=1, document={}) for item in items]
    edits[777] = replace(edits[777], revision=2)
    with store.begin() as tx:
        with pytest.raises(ConflictError, match="'777' of cluster 'c1'") as error:
            tx.items.put_all(edits)
        assert error.value.revision == 1
    with store.begin() as tx, pytest.raises(InvalidInputError, match=r"'3' .* twice"):
        tx.items.put_all([rule("3"), rule("3")])
    with store.begin(read_only=True) as tx:
        assert {each.revision for each in tx.items.page(Kind.RULE, "c1", limit=2000)} == {1}


# Snapshots, plans, jobs ----------------------------------------------------------------------


def test_the_latest_snapshot_stays(store: SqlStore) -> None:
    """One that comes late is dropped."""
    first = Snapshot(cluster_id="c1", observed_at=NOW, document={"n": 1})
    later = replace(first, observed_at=NOW + timedelta(seconds=1), document={"n": 2})
    with store.begin() as tx:
        assert tx.snapshots.get("c1") is None
        assert tx.snapshots.unread("c1") is None
        assert tx.snapshots.put(first)
        assert tx.snapshots.put(later)
        assert not tx.snapshots.put(first)
        assert tx.snapshots.get("c1") == later
        assert tx.snapshots.unread("c1") == UnreadSnapshot(document={"n": 2}, vms=[])
        assert tx.snapshots.observed_at("c1") == later.observed_at
        tx.snapshots.delete("c1")
        assert tx.snapshots.observed_at("c1") is None
        assert tx.snapshots.get("c1") is None


def test_a_single_question_sees_what_is_written_and_writes_nothing(store: SqlStore) -> None:
    """Nor does its failure keep anybody from reading or writing afterwards."""
    item = Item(kind=Kind.RULE, cluster_id="c1", id="r1", document={"x": 1}, changed_at=NOW)
    with store.asking() as asked:
        assert asked.items.find(Kind.RULE, "c1", ["r1"]) == {}
    with store.begin() as tx:
        tx.items.put(item, expected_revision=0)
    with store.asking() as asked:
        assert asked.items.get(Kind.RULE, "c1", "r1").document == {"x": 1}
    with pytest.raises(StoreError), store.asking() as asked:
        asked.items.put(replace(item, document={"x": 2}), expected_revision=1)
    with store.begin() as tx:
        assert tx.items.get(Kind.RULE, "c1", "r1").document == {"x": 1}


@pytest.mark.parametrize("num_vms", [2, 2 * LONG])
def test_vms_of_a_snapshot_are_read_one_by_one(store: SqlStore, num_vms: int) -> None:
    """Their JSON is the same wherever they stand the same, however many there are."""
    vms = [{"id": f"vm-{v}", "labels": {"a": "ä,\n]"}} for v in range(num_vms)]
    fewer = {"vms": vms[1:2], "hosts": [{"id": "h"}], "budget": {}}
    with store.begin() as tx:
        tx.snapshots.put(Snapshot(cluster_id="few", observed_at=NOW, document=fewer))
        all_ = Snapshot(cluster_id="all", observed_at=NOW, document={**fewer, "vms": vms})
        tx.snapshots.put(all_)
        assert tx.snapshots.get("all") == all_
        few, unread = tx.snapshots.unread("few"), tx.snapshots.unread("all")
    assert few is not None
    assert unread is not None
    assert unread.document == {"hosts": [{"id": "h"}], "budget": {}} == few.document
    assert [json.loads(text) for text in unread.vms] == vms
    assert few.vms == [unread.vms[1]]


def test_plans_come_newest_first(store: SqlStore) -> None:
    """By pages, of all stages or of some, those of one instant in a fixed order."""
    with store.begin() as tx:
        tx.plans.put(plan("x", minutes=2), expected_revision=0)
        for name in "abc":
            tx.plans.put(plan(name, stage=PlanStage.DONE), expected_revision=0)
        assert [each.id for each in tx.plans.page("c1", limit=9)] == ["x", "c", "b", "a"]
        assert [each.id for each in tx.plans.page("c1", before="c", limit=1)] == ["b"]
        done = tx.plans.page("c1", stages=[PlanStage.DONE], before="x", limit=2)
        assert [each.id for each in done] == ["c", "b"]
        assert tx.plans.page("c1", before="none", limit=9) == []
        assert tx.plans.page("c1", stages=[], limit=9) == []
        assert tx.plans.page("c2", limit=9) == []


def test_heads_of_plans_leave_their_results_out(store: SqlStore) -> None:
    """All else is told as it is: a list of plans with results once took hundreds of MiB."""
    repair = {"before": {"repair": 2**53}, "after": {"repair": 0}}
    result = {**repair, "gap": 0.25, "plan": {"steps": [{"vm_id": "ü"}, {"vm_id": 'v"1'}]}}
    rest = {"reason": 'ä "quoted"', "expected": {"saved_host_s": 1.5}, "observed": {}, "n": None}
    with store.begin() as tx:
        whole = replace(plan("whole", minutes=2), document={**rest, "result": result})
        tx.plans.put(whole, expected_revision=0)
        wanted = plan("wanted", stage=PlanStage.WANTED, minutes=1)
        tx.plans.put(replace(wanted, document={"result": None}), expected_revision=0)
        tx.plans.put(plan("bare"), expected_revision=0)
        first, second, third = tx.plans.heads("c1", limit=9)
        assert (first.id, first.num_steps, first.gap) == ("whole", 2, 0.25)
        assert (first.repairs, second.repairs) == (True, False)
        assert (first.document, first.made_at, first.revision) == (rest, whole.made_at, 1)
        assert (second.id, second.num_steps, second.gap) == ("wanted", 0, None)
        assert (second.stage, second.document) == (PlanStage.WANTED, {})
        assert third.document == plan("bare").document
        assert tx.plans.heads("c1", stages=[PlanStage.WANTED], before="whole", limit=1) == [second]
        assert tx.plans.heads("c2", limit=9) == []


def test_old_plans_go_with_the_journal_of_their_moves(store: SqlStore) -> None:
    """Only those at the stages that are named, the oldest first; what others wrote stays."""
    done, approved = PlanStage.DONE, PlanStage.APPROVED
    journal = store.journal("c1")
    moves = make_plan(migrate("v1", "h1", "h2"))
    with store.begin() as tx:
        tx.plans.put(plan("old", minutes=-9, stage=done), expected_revision=0)
        tx.plans.put(plan("older", minutes=-10, stage=done), expected_revision=0)
        tx.plans.put(plan("live", minutes=-9, stage=approved), expected_revision=0)
        tx.plans.put(plan("new", stage=done), expected_revision=0)
    for name in ("older", "live", "old", "new"):
        journal.append(PlanBegun(plan_id=name, at=NOW, plan=moves))
    with store.begin() as tx:
        assert tx.plans.forget(NOW, stages=[done], limit=1) == 1
        assert {each.id for each in tx.plans.page("c1", limit=9)} == {"new", "live", "old"}
        assert tx.plans.forget(NOW, stages=[done], limit=9) == 1
        assert tx.plans.forget(NOW, stages=[done], limit=9) == 0
        assert {each.id for each in tx.plans.page("c1", limit=9)} == {"new", "live"}
    assert [record.plan_id for record in journal.read()] == ["live", "new"]
    journal.append(PlanBegun(plan_id="next", at=NOW, plan=moves))
    assert [record.plan_id for record in journal.read()] == ["live", "new", "next"]


def test_nothing_of_a_cluster_remains(store: SqlStore) -> None:
    """Neither plans nor journal, blobs, snapshot or telemetry; the audit log and others stay."""
    moves = make_plan(migrate("v1", "h1", "h2"))
    entry = AuditEntry(at=NOW, actor="eve", action="made", cluster_id="c1", subject="/clusters/c1")
    for name in ("c1", "c2"):
        store.telemetry.put_history(name, make_history())
        store.journal(name).append(PlanBegun(plan_id="p", at=NOW, plan=moves))
        with store.begin() as tx:
            tx.plans.put(replace(plan("p"), cluster_id=name), expected_revision=0)
            tx.snapshots.put(Snapshot(cluster_id=name, observed_at=NOW, document={}))
            tx.blobs.put(name, "model", NOW, b"trees")
            tx.audit.append(entry)
    with store.begin() as tx:
        tx.remains.delete_of("c1")
    with store.begin(read_only=True) as tx:
        assert len(tx.audit.page(limit=9)) == 2
        for name, there in (("c1", False), ("c2", True)):
            assert bool(tx.plans.page(name, limit=9)) is there
            assert (tx.snapshots.get(name) is not None) is there
            assert (tx.blobs.get(name, "model") is not None) is there
    assert store.journal("c1").read() == ()
    assert len(store.journal("c2").read()) == 1
    history = make_history()
    with pytest.raises(NotEnoughHistoryError):
        store.telemetry.history("c1", history.start_at, history.end_at)
    assert store.telemetry.history("c2", history.start_at, history.end_at).num_vms


def test_a_plan_goes_on_from_where_it_was_seen(store: SqlStore) -> None:
    """Two who approve and reject at once do not both succeed."""
    with store.begin() as tx:
        made = tx.plans.put(plan("p"), expected_revision=0)
        approved = tx.plans.put(replace(made, stage=PlanStage.APPROVED), expected_revision=1)
        assert tx.plans.get("c1", "p") == approved
        with pytest.raises(ConflictError, match="plan 'p'"):
            tx.plans.put(replace(made, stage=PlanStage.REJECTED), expected_revision=1)
        with pytest.raises(NotFoundError, match="plan 'p' of cluster 'c2'"):
            tx.plans.get("c2", "p")


def test_jobs_are_kept_with_all_that_belongs_to_them(store: SqlStore) -> None:
    """By pages, newest first, of one who asked or of all."""
    ended = replace(
        job("a"),
        stage=JobStage.FAILED,
        cluster_id="c1",
        progress={"gap": 0.5},
        problem={"title": "no"},
        worker="w",
        ended_at=NOW,
    )
    with store.begin() as tx:
        for each in (ended, job("b", minutes=1, asked_by="bob"), job("c", minutes=1)):
            tx.jobs.put(each, expected_revision=0)
        assert tx.jobs.get("a") == replace(ended, revision=1)
        assert [each.id for each in tx.jobs.page(limit=2)] == ["c", "b"]
        assert [each.id for each in tx.jobs.page(before="b", limit=2)] == ["a"]
        assert [each.id for each in tx.jobs.page(asked_by="eve", limit=9)] == ["c", "a"]
        with pytest.raises(ConflictError):
            tx.jobs.put(ended, expected_revision=0)


def test_jobs_that_ended_long_ago_are_forgotten(store: SqlStore) -> None:
    """Those that run on are not, however old."""
    with store.begin() as tx:
        tx.jobs.put(replace(job("old"), ended_at=NOW), expected_revision=0)
        tx.jobs.put(job("running", minutes=-1000), expected_revision=0)
        assert tx.jobs.forget(NOW) == 0
        assert tx.jobs.forget(NOW + timedelta(seconds=1)) == 1
        assert [each.id for each in tx.jobs.page(limit=9)] == ["running"]
        with pytest.raises(NotFoundError, match="'old'"):
            tx.jobs.get("old")


def test_unfinished_jobs_are_found_whoever_runs_them(store: SqlStore) -> None:
    """Any replica sees what has not ended, the oldest first."""
    with store.begin() as tx:
        tx.jobs.put(job("late", minutes=2), expected_revision=0)
        tx.jobs.put(job("early", minutes=1), expected_revision=0)
        ended = replace(job("ended"), stage=JobStage.DONE, ended_at=NOW)
        tx.jobs.put(ended, expected_revision=0)
    with store.begin() as tx:
        assert [item.id for item in tx.jobs.unfinished()] == ["early", "late"]


# Access --------------------------------------------------------------------------------------


def test_credentials_are_found_by_their_digest(store: SqlStore) -> None:
    """Of one kind; written over by id, expired or not."""
    with store.begin() as tx:
        tx.credentials.put(credential("t1", "d1", expires_at=NOW - timedelta(days=1)))
        used = replace(credential("t1", "d2"), last_used_at=NOW)
        assert tx.credentials.find("token", "d1") is not None
        tx.credentials.put(used)
        assert tx.credentials.find("token", "d1") is None
        assert tx.credentials.find("token", "d2") == used
        assert tx.credentials.find("session", "d2") is None


def test_one_digest_belongs_to_one_credential(store: SqlStore) -> None:
    """Two of the same would be one secret for two."""

    def put_both() -> None:
        with store.begin() as tx:
            tx.credentials.put(credential("t1", "d"))
            tx.credentials.put(credential("t2", "d"))

    with pytest.raises(StoreError):
        put_both()
    with store.begin(read_only=True) as tx:
        assert tx.credentials.page("token", limit=9) == []


def test_credentials_go_one_by_one_by_subject_or_by_age(store: SqlStore) -> None:
    """Each way removes those it means and no others."""
    with store.begin() as tx:
        tx.credentials.put(credential("a", "1"))
        tx.credentials.put(credential("b", "2", expires_at=NOW))
        tx.credentials.put(replace(credential("c", "3"), subject="bob"))
        assert [each.id for each in tx.credentials.page("token", limit=2)] == ["a", "b"]
        assert [each.id for each in tx.credentials.page("token", after="b", limit=2)] == ["c"]
        assert [e.id for e in tx.credentials.page("token", subject="bob", limit=2)] == ["c"]
        assert tx.credentials.forget_expired(NOW - timedelta(seconds=1)) == 0
        assert tx.credentials.forget_expired(NOW) == 1
        assert tx.credentials.delete_of("token", "bob") == 1
        assert tx.credentials.delete("a") == credential("a", "1")
        with pytest.raises(NotFoundError):
            tx.credentials.delete("a")


def test_failed_logins_are_counted_by_key_and_time(store: SqlStore) -> None:
    """Until they are forgotten."""
    with store.begin() as tx:
        for minutes in (0, 1, 2):
            tx.attempts.note("eve", NOW + timedelta(minutes=minutes))
        tx.attempts.note("bob", NOW)
        assert tx.attempts.count("eve", NOW + timedelta(minutes=1)) == 2
        tx.attempts.forget("bob")
        assert tx.attempts.count("bob", NOW) == 0
        assert tx.attempts.forget_before(NOW + timedelta(minutes=2)) == 2
        assert tx.attempts.count("eve", NOW) == 1


def test_the_log_is_read_backwards(store: SqlStore) -> None:
    """By pages, of some clusters, below a path; numbers rise over transactions."""
    for subject, cluster in (("rules/a", "c1"), ("rules/b_", "c2"), ("vms/a", "c1")):
        with store.begin() as tx:
            tx.audit.append(entry(subject, cluster), entry(f"{subject}/x", cluster))
    with store.begin(read_only=True) as tx:
        everything = tx.audit.page(limit=99)
        assert [each.number for each in everything] == [6, 5, 4, 3, 2, 1]
        assert everything[-1] == replace(entry("rules/a"), number=1)
        assert tx.audit.page(before=5, limit=2) == everything[2:4]
        assert tx.audit.page(cluster_ids=["c2"], limit=9) == everything[2:4]
        assert tx.audit.page(cluster_ids=[], limit=9) == []
        assert tx.audit.page(subject_prefix="rules/b_", limit=9) == everything[2:4]
        assert tx.audit.page(action_prefix="rules.", limit=1) == everything[:1]
        assert tx.audit.page(action_prefix="ules.", limit=1) == []
        assert tx.audit.page(before=10**30, limit=1) == everything[:1]
        assert tx.audit.page(actor="eve", limit=1) == everything[:1]
        assert tx.audit.page(actor="ev", limit=1) == []
        assert tx.audit.page(since=NOW, limit=1) == everything[:1]
        assert tx.audit.page(since=NOW + timedelta(seconds=1), limit=1) == []
        assert tx.audit.page(until=NOW, limit=1) == []
        assert tx.audit.page(until=NOW + timedelta(seconds=1), limit=1) == everything[:1]


def test_a_request_is_answered_once(store: SqlStore) -> None:
    """Who comes second finds what stands: nothing yet, or the answer."""
    asked = Answer(actor="eve", key="k", digest="d", at=NOW)
    done = replace(asked, status=201, headers={"ETag": '"1"'}, body='{"ü": 1}')
    with store.begin() as tx:
        assert tx.answers.take(asked) is None
        assert tx.answers.take(replace(asked, digest="other")) == asked
        tx.answers.put(done)
        assert tx.answers.take(asked) == done
        assert tx.answers.take(replace(asked, actor="bob")) is None
        tx.answers.drop("bob", "k")
        assert tx.answers.take(replace(asked, actor="bob")) is None
        assert tx.answers.forget(NOW) == 0
        assert tx.answers.forget(NOW + timedelta(seconds=1)) == 2


def test_blobs_are_replaced_as_a_whole(store: SqlStore) -> None:
    """Bytes of any kind."""
    data = bytes(range(256)) * 5000
    with store.begin() as tx:
        assert tx.blobs.get("c1", "model") is None
        assert tx.blobs.made_at("c1", "model") is None
        tx.blobs.put("c1", "model", NOW, b"")
        tx.blobs.put("c1", "model", NOW, data)
        assert tx.blobs.get("c1", "model") == (NOW, data)
        assert tx.blobs.made_at("c1", "model") == NOW
        tx.blobs.delete("c1", "model")
        tx.blobs.delete("c1", "model")
        assert tx.blobs.get("c1", "model") is None


def test_old_blobs_go_by_the_beginning_of_their_names(store: SqlStore) -> None:
    """Of every cluster; a name is no pattern."""
    with store.begin() as tx:
        for name in ("start/a", "start/b", "st%", "model"):
            made_at = NOW if name == "start/b" else NOW - timedelta(days=9)
            tx.blobs.put("c1", name, made_at, b"x")
        assert tx.blobs.forget("start/", NOW - timedelta(days=1)) == 1
        assert tx.blobs.get("c1", "start/a") is None
        assert tx.blobs.get("c1", "start/b") is not None
        assert tx.blobs.forget("st%", NOW) == 1
        assert tx.blobs.get("c1", "model") is not None


def test_a_store_tells_its_size_and_that_it_is_well(store: SqlStore) -> None:
    """As operators are told."""
    store.check()
    before = store.size_bytes()
    with store.begin() as tx:
        tx.blobs.put("c1", "model", NOW, bytes(1_000_000))
    assert before > 0
    assert store.size_bytes() > before
