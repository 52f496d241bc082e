"""Plans, schedules, contention and forecasts over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.policies import ClusterSettings, DriverSettings
from service.plans.document import with_entry
from service.plans.wishes import put_schedule
from service.runtime.kept import RUNTIME
from service.security.principal import Principal, Role
from service.store.base import Kind, PlanStage, Store, Transaction
from service.store.sql import open_store
from tests import answers
from tests.plans import PLAN_ID, crowded_host, make_kept
from tests.unit.service.api.conftest import NOW, Ask

C1 = "/api/v1/clusters/c1"
PLAN = f"{C1}/plans/{PLAN_ID}"
ADMIN = Principal(name="ada", role=Role.ADMIN)


def document(answered: TestResponse, status: int = 200) -> dict[str, Any]:
    """Return what was answered, with the status that was expected."""
    assert answered.status_code == status, answered.get_data(as_text=True)
    return answers.document(answered)


def problem(answered: TestResponse, status: int) -> dict[str, Any]:
    """Return the problem that was answered, with the status that was expected."""
    assert answered.status_code == status, answered.get_data(as_text=True)
    return answers.problem(answered)


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    """A store with a cluster and a proposed plan, which may be approved."""
    opened: Any = open_store(f"sqlite:///{database}")
    with opened.begin() as tx:
        settings = ClusterSettings(name="one", driver=DriverSettings(kind="simulated"))
        put_cluster(tx, ADMIN, "c1", settings, expected_revision=0, now=NOW)
        _automate(tx, "approve")
        keep_snapshot(tx, "c1", crowded_host(), now=NOW)
        tx.plans.put(make_kept(crowded_host()), expected_revision=0)
    yield opened
    opened.close()


def _automate(tx: Transaction, automation: str) -> None:
    wish = {"automation": automation}
    put_schedule(tx, ADMIN, "c1", wish, expected_revision=None, now=NOW)


@pytest.fixture
def operator(client_of: Ask) -> FlaskClient:
    """A client that runs clusters."""
    return client_of(Role.OPERATOR)


def test_plan_is_listed_and_shown_with_reasons(operator: FlaskClient) -> None:
    """A plan shows its steps, each with why, and what it is expected to save."""
    listed = document(operator.get(f"{C1}/plans"))["items"]
    assert [item["id"] for item in listed] == [PLAN_ID]
    shown = document(operator.get(PLAN))
    assert shown["stage"] == "proposed"
    assert len(shown["steps"]) == shown["num_steps"] >= 2
    assert all(step["reason"] and step["state"] is None for step in shown["steps"])
    assert shown["result"]["after"]["total"] < shown["result"]["before"]["total"]


def test_list_is_filtered_by_stage(operator: FlaskClient) -> None:
    """Only plans of the stage asked for are listed; an unknown stage is refused."""
    assert document(operator.get(f"{C1}/plans?stage=done"))["items"] == []
    assert problem(operator.get(f"{C1}/plans?stage=odd"), 422)["errors"][0]["path"] == "query.stage"


def test_approving_twice_with_one_key_acts_once(operator: FlaskClient, store: Store) -> None:
    """The same request again gets the same answer; without the key it is refused."""
    key = {"Idempotency-Key": "k1"}
    first = operator.post(f"{PLAN}/approve", json={"reason": "go"}, headers=key)
    again = operator.post(f"{PLAN}/approve", json={"reason": "go"}, headers=key)
    assert first.status_code == again.status_code == 202
    assert document(first, 202) == document(again, 202)
    problem(operator.post(f"{PLAN}/approve", json={}), 409)
    with store.begin(read_only=True) as tx:
        entries = tx.audit.page(limit=10)
    assert [entry.action for entry in entries].count("plans.approve") == 1
    assert entries[0].after == {"stage": "approved", "reason": "go"}


@pytest.mark.parametrize("wish", ["approve", "steps/0/approve"])
def test_recommendations_are_not_approved(operator: FlaskClient, store: Store, wish: str) -> None:
    """At `recommend` nothing is carried out: the refusal names the field to change."""
    with store.begin() as tx:
        _automate(tx, "recommend")
    refused = problem(operator.post(f"{PLAN}/{wish}", json={}), 409)["detail"]
    assert "'automation' of its schedule to be 'approve' or 'automatic'" in refused
    shown = document(operator.get(PLAN))
    assert shown["stage"] == "proposed"
    assert shown["not_carried_out"] in refused
    assert document(operator.post(f"{PLAN}/reject", json={}), 202)["not_carried_out"] == ""


def test_plans_of_a_cluster_without_a_driver_are_not_approved(
    operator: FlaskClient, store: Store
) -> None:
    """Nothing could be moved, whatever its schedule says."""
    with store.begin() as tx:
        settings = ClusterSettings(name="one")
        put_cluster(tx, ADMIN, "c1", settings, expected_revision=None, now=NOW)
    refused = problem(operator.post(f"{PLAN}/approve", json={}), 409)["detail"]
    assert "'driver.kind' of the cluster" in refused


def test_rejected_plan_cannot_be_approved(operator: FlaskClient) -> None:
    """What was decided stands."""
    assert document(operator.post(f"{PLAN}/reject", json={}), 202)["stage"] == "rejected"
    assert "rejected" in problem(operator.post(f"{PLAN}/approve", json={}), 409)["detail"]


def test_single_steps(operator: FlaskClient) -> None:
    """One step is approved, another left out; no third one exists."""
    shown = document(operator.post(f"{PLAN}/steps/0/approve", json={}), 202)
    assert shown["stage"] == "approved"
    assert shown["stepwise"]
    shown = document(operator.post(f"{PLAN}/steps/1/skip", json={"reason": "no"}), 202)
    assert [step["decision"] for step in shown["steps"]][:2] == ["approved", "skipped"]
    problem(operator.post(f"{PLAN}/steps/1/approve", json={}), 409)
    assert problem(operator.post(f"{PLAN}/steps/99/skip", json={}), 422)


def test_only_a_plan_that_is_carried_out_is_held_or_ended(
    operator: FlaskClient, store: Store
) -> None:
    """Pause, resume and abort write what is wanted for the leader to take up."""
    problem(operator.post(f"{PLAN}/pause", json={}), 409)
    with store.begin() as tx:
        kept = make_kept(crowded_host(), stage=PlanStage.RUNNING)
        tx.plans.put(kept, expected_revision=None)
    paused = document(operator.post(f"{PLAN}/pause", json={}), 202)
    assert paused["wanted"]["paused"]
    assert not document(operator.post(f"{PLAN}/resume", json={}), 202)["wanted"]["paused"]
    aborted = document(operator.post(f"{PLAN}/abort", json={"cancel_running": False}), 202)
    assert aborted["wanted"]["abort"]["cancel_running"] is False
    problem(operator.post(f"{C1}/plans", json={}), 409)


def test_plan_made_now_is_wanted_until_it_is_there(operator: FlaskClient) -> None:
    """Asking twice gives the one that is still to be made."""
    answered = operator.post(f"{C1}/plans", json={"reason": "look"})
    wanted = document(answered, 202)
    assert wanted["stage"] == "wanted"
    assert answered.headers["Location"].endswith(wanted["id"])
    assert document(operator.post(f"{C1}/plans", json={}), 202)["id"] == wanted["id"]


def test_schedule_is_set_as_a_whole_by_revision(operator: FlaskClient, store: Store) -> None:
    """The default is shown as such; changes name the revision they are made upon."""
    with store.begin() as tx:
        tx.items.delete(Kind.SCHEDULE, "c1", "c1", expected_revision=None)
    shown = operator.get(f"{C1}/schedule")
    assert document(shown)["is_default"]
    wish = {"automation": "approve", "cron": "*/30 6-20 * * mon-fri", "time_zone": "Europe/Rome"}
    made = operator.put(f"{C1}/schedule", json=wish)
    assert document(made, 201)["schedule"]["cron"] == wish["cron"]
    problem(operator.put(f"{C1}/schedule", json=wish, headers={"If-Match": '"7"'}), 412)
    changed = operator.put(f"{C1}/schedule", json={"paused": True}, headers={"If-Match": '"1"'})
    assert document(changed)["schedule"]["paused"]


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({"cron": "99 * * * *"}, "cron"),
        ({"time_zone": "Nowhere"}, "time_zone"),
        ({"limits": {"moves_per_host": -1}}, "limits.moves_per_host"),
    ],
)
def test_wrong_schedule_names_the_field(
    operator: FlaskClient, wish: dict[str, Any], path: str
) -> None:
    """A wrong schedule changes nothing and says where."""
    found = problem(operator.put(f"{C1}/schedule", json=wish), 422)
    assert found["errors"][0]["path"] == path
    assert operator.get(f"{C1}/schedule").headers["ETag"] == '"1"'


def test_status_tells_what_the_leader_told(operator: FlaskClient, store: Store) -> None:
    """Why nothing is done is shown beside the schedule."""
    told = {
        "seen_at": None,
        "forecast_at": None,
        "forecaster": "persistence",
        "objections": ["there is no telemetry yet"],
        "error": "",
        "last_run_at": None,
        "last_trigger": "",
        "last_outcome": "",
        "next_run_at": None,
        "blackout_until": None,
        "retry_at": None,
        "emptying": [],
    }
    with store.begin() as tx:
        tx.blobs.put("c1", RUNTIME, NOW, json.dumps(told).encode())
    assert document(operator.get(f"{C1}/schedule"))["status"] == told


def test_nothing_to_show_before_the_first_forecast(operator: FlaskClient) -> None:
    """Contention and forecasts are not there before a leader has looked."""
    for path in (
        "contention",
        "outlook",
        "forecasts/vms/v1",
        "forecasts/hosts/h1",
        "history/vms/v1",
    ):
        problem(operator.get(f"{C1}/{path}"), 404)


def test_scorecard_sums_what_was_observed(operator: FlaskClient, store: Store) -> None:
    """Plans nobody ran count apart from those that ran."""
    observed = {"1h": {"without_host_s": 30.0, "with_host_s": 10.0}}
    with store.begin() as tx:
        kept = tx.plans.get("c1", PLAN_ID)
        tx.plans.put(with_entry(kept, observed=observed), expected_revision=None)
    shown = document(operator.get(f"{C1}/scorecard"))
    assert shown["not_run"]["num_plans"] == 1
    assert shown["not_run"]["saved_host_s"] == 20.0
    assert shown["run"]["num_plans"] == 0


def test_subjects_in_the_log_are_paths_below_the_cluster(
    operator: FlaskClient, store: Store
) -> None:
    """Whatever the noun, so that how a subject begins finds all that happened to it."""
    operator.post(f"{PLAN}/steps/0/approve", json={})
    operator.post(f"{PLAN}/reject", json={})
    anything = {"If-Match": "*"}
    operator.put(f"{C1}/schedule", json={"interval_minutes": 30}, headers=anything)
    operator.put(f"{C1}/vms/v1/priority", json={"priority": 9})
    with store.begin(read_only=True) as tx:
        entries = tx.audit.page(cluster_ids=["c1"], limit=4)
    assert [entry.subject for entry in entries] == [
        "vms/v1",
        "schedule",
        f"plans/{PLAN_ID}",
        f"plans/{PLAN_ID}/steps/0",
    ]
