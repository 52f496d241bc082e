"""One VM: how it went and where it goes, what is wanted of it, where it was and why it is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.inventory.access import visible_vm
from service.inventory.effective import Inventory, look_up
from service.inventory.policies import VmPolicy
from service.inventory.priorities import Wanted, set_priority
from service.security.principal import Principal
from service.store.base import Item, Kind
from service.web.charts import course_figure, listen_to_chart, source_of
from service.web.door import may, require
from service.web.errors import notice, sentence
from service.web.migrations import Migration, begun_plans, migration_rows, migrations, why_here
from service.web.outlook_parts import (
    course_chart,
    fared,
    migrations_part,
    rules_table,
    span_select,
)
from service.web.parts import figure, heading, instant, subheading, whole
from service.web.places import place_rows, verdict
from service.web.readings import (
    Outlook,
    contention_of,
    hours_of,
    look_at_vm,
    quality_of,
    reading_mark,
)
from service.web.rule_lines import rule_lines
from service.web.site import Component, Page, Visit
from service.web.tables import NUMBER, export_button, link, listen_to_export, place, table
from solver.domain.cluster import MAX_PRIORITY, MIN_PRIORITY, VM
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId

_CLUSTER: Final = "vm-cluster"
_VM: Final = "vm-id"
_FACTS: Final = "vm-facts"
_CHART: Final = "vm-course"
_SPAN: Final = "vm-span"
_SEEN: Final = "vm-seen"
_FORECAST: Final = "vm-forecast"
_FARED: Final = "vm-fared"
_PRIORITY: Final = "vm-priority"
_SET: Final = "vm-set"
_GIVE_BACK: Final = "vm-give-back"
_WHY: Final = "vm-why"
_WHY_NOT: Final = "vm-why-not"
_PLACES_AT: Final = "vm-places-at"
_PLACES: Final = "vm-places"
_MOVES: Final = "vm-migrations"
_LIVE: Final = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a VM by whoever asks; what their role does not see is left out."""

    inventory: Inventory
    vm: VM
    item: Item | None
    moves: tuple[Migration, ...]


def show(services: Services, visit: Visit) -> Component:
    """Return the page."""
    principal, cluster_id = visit.principal, visit.cluster_id
    known = _look_up(services, principal, cluster_id, visit.item_id)
    outlook = look_at_vm(services, known.inventory, known.vm, 24)
    sees_plans = may(principal, "plans.list", cluster_id)
    sees_hosts = may(principal, "hosts.list", cluster_id)
    return [
        html.Div(cluster_id, id=_CLUSTER, hidden=True),
        html.Div(visit.item_id, id=_VM, hidden=True),
        dcc.Store(id=_SEEN, data=reading_mark(services, known.inventory)),
        heading(f"VM {known.vm.id}", span_select(_SPAN)),
        html.Div(_facts(known, sees_hosts), id=_FACTS),
        html.Div(_forecast_figures(outlook), id=_FORECAST),
        _priority(known, may(principal, "priorities.set", cluster_id)),
        course_chart(_CHART, outlook, f"VM {known.vm.id}"),
        subheading("How its forecasts fared"),
        html.Div(_fared(services, cluster_id, outlook), id=_FARED),
        *_why_part(known, sees_plans, sees_hosts),
        *_rules_part(known, may(principal, "rules.list", cluster_id)),
        *(migrations_part(_MOVES, cluster_id, known.moves, with_vm=False) if sees_plans else ()),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    listen_to_chart(app, _CHART)
    listen_to_export(app, _MOVES)
    listen_to_export(app, _PLACES)
    _listen_to_course(app, services)
    _listen_to_priority(app, services)

    @app.callback(
        Output(_MOVES, "rowData"),
        Output(_WHY, "children"),
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        State(_VM, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, cluster_id: str, vm_id: str) -> Any:
        """Show where it was moved meanwhile."""
        principal = require(services, "plans.list", cluster_id)
        known = _look_up(services, principal, cluster_id, vm_id)
        why = why_here(known.vm.id, known.vm.host_id, known.moves)
        return migration_rows(known.moves), why

    @app.callback(
        Output(_PLACES_AT, "children"),
        Input(_WHY_NOT, "n_clicks"),
        State(_CLUSTER, "children"),
        State(_VM, "children"),
        prevent_initial_call=True,
    )
    def why_not(clicks: int | None, cluster_id: str, vm_id: str) -> Any:
        """Tell what stands in the way on every other host."""
        if not clicks:
            return no_update
        principal = require(services, "hosts.list", cluster_id)
        known = _look_up(services, principal, cluster_id, vm_id)
        with services.store.begin(read_only=True) as tx:
            contention = contention_of(tx, cluster_id)
        rows = place_rows(known.inventory.cluster, known.vm.id, contention)
        here = contention.get(known.vm.host_id or "")
        return _places(cluster_id, rows, verdict(rows, here))


def _listen_to_course(app: Dash, services: Services) -> None:
    @app.callback(
        Output(source_of(_CHART), "data"),
        Output(_FACTS, "children"),
        Output(_FORECAST, "children"),
        Output(_FARED, "children"),
        Output(_SEEN, "data"),
        Input(_LIVE, "data"),
        Input(_SPAN, "value"),
        State(_SEEN, "data"),
        State(_CLUSTER, "children"),
        State(_VM, "children"),
        prevent_initial_call=True,
    )
    def follow(_live: str, span: str | None, seen: str, cluster_id: str, vm_id: str) -> Any:
        """Show what was read and forecast meanwhile, as far back as is wanted."""
        principal = require(services, "history.vm", cluster_id)
        known = _look_up(services, principal, cluster_id, vm_id)
        facts = _facts(known, may(principal, "hosts.list", cluster_id))
        mark = reading_mark(services, known.inventory)
        if ctx.triggered_id != _SPAN and mark == seen:
            return no_update, facts, *(no_update,) * 3
        outlook = look_at_vm(services, known.inventory, known.vm, hours_of(span))
        told = _forecast_figures(outlook), _fared(services, cluster_id, outlook)
        return course_figure(outlook.courses), facts, *told, mark


def _listen_to_priority(app: Dash, services: Services) -> None:
    @app.callback(
        Output(_PRIORITY, "error"),
        Output(_PRIORITY, "value"),
        Input(_SET, "n_clicks"),
        Input(_GIVE_BACK, "n_clicks"),
        State(_PRIORITY, "value"),
        State(_CLUSTER, "children"),
        State(_VM, "children"),
        prevent_initial_call=True,
    )
    def change(
        set_: int | None, give_back: int | None, value: Any, cluster_id: str, vm_id: str
    ) -> Any:
        """Set the priority, or give it back to what was seen."""
        if not (set_ or give_back):
            return no_update, no_update
        principal = require(services, "priorities.set", cluster_id)
        try:
            wanted = None if ctx.triggered_id == _GIVE_BACK else _typed(value)
            _set(services, principal, cluster_id, Wanted(vm_id=VmId(vm_id), priority=wanted))
        except InvalidInputError as error:
            return sentence(error).removeprefix("priority: "), no_update
        known = _look_up(services, principal, cluster_id, vm_id)
        notice("Changed", f"The priority of {vm_id} is {known.vm.priority}.")
        return "", known.vm.priority


def _typed(value: Any) -> Any:
    """Return the priority that was typed; an empty field is none, and not one given back."""
    if value in ("", None):
        raise InvalidInputError(f"expected {MIN_PRIORITY}..{MAX_PRIORITY}", path="priority")
    return whole(value)


def _set(services: Services, principal: Principal, cluster_id: str, wanted: Wanted) -> None:
    with services.store.begin() as tx:
        set_priority(tx, principal, cluster_id, wanted, expected_revision=None, now=services.now())


def _look_up(services: Services, principal: Principal, cluster_id: str, vm_id: str) -> _Known:
    with services.store.begin(read_only=True) as tx:
        inventory = look_up(tx, cluster_id)
        vm = visible_vm(inventory, principal, VmId(vm_id))
        item = tx.items.find(Kind.VM_POLICY, cluster_id, [vm_id]).get(vm_id)
        sees_plans = may(principal, "plans.list", cluster_id)
        plans = begun_plans(tx, cluster_id) if sees_plans else []
    moves = tuple(migrations(plans, vm_id=vm_id))
    return _Known(inventory=inventory, vm=vm, item=item, moves=moves)


def _facts(known: _Known, sees_hosts: bool) -> Component:
    vm, inventory = known.vm, known.inventory
    policy = inventory.vm_policies.get(vm.id, VmPolicy())
    least, most = policy.bounds
    host: Component = vm.host_id or "runs nowhere"
    if sees_hosts and vm.host_id:
        address = place(inventory.cluster_id, "hosts", vm.host_id)
        host = dmc.Anchor(vm.host_id, href=address, underline="always", c="inherit")
    cores = vm.allocation.cpu_millicores / 1000
    figures = [
        figure("Host", host),
        figure("Priority", f"{vm.priority} (bounds {least}–{most})"),
        figure("Owner", policy.owner or "nobody"),
        figure("Application", vm.group or "none"),
        figure("Type", vm.app_type or "not known"),
        figure("Size", f"{cores:g} cores, {vm.allocation.memory_mib / 1024:,.4g} GiB"),
    ]
    lines = [_last_change(known.item)]
    if vm.not_migratable_reason:
        lines.append(f"It cannot be migrated: {vm.not_migratable_reason}.")
    if vm.not_before_at is not None and vm.not_before_at > inventory.cluster.observed_at:
        lines.append(["It was moved lately and is left alone until ", instant(vm.not_before_at)])
    told = [dmc.Text(line, size="sm", c="dimmed") for line in lines]
    return [dmc.Group(figures, gap="xl", mb="xs"), *told]


def _forecast_figures(outlook: Outlook) -> Component:
    fan = outlook.fan
    if fan is None:
        return dmc.Text("There is no forecast of it yet.", size="sm")
    told = fan.get("usage_class") or "not known"
    cold = " (little is known of it)" if fan["cold"] else ""
    figures = [figure("Class", f"{told}{cold}"), figure("Forecaster", fan["forecaster"])]
    return dmc.Group(figures, gap="xl", my="xs")


def _last_change(item: Item | None) -> Component:
    if item is None or item.changed_at is None:
        return "Nobody has changed what is wanted of it."
    return [f"Last changed by {item.changed_by} at ", instant(item.changed_at)]


def _priority(known: _Known, edits: bool) -> Component:
    """Return what sets the priority; hidden from those who may not."""
    field = dmc.NumberInput(
        id=_PRIORITY,
        label="Priority",
        value=known.vm.priority,
        min=MIN_PRIORITY,
        max=MAX_PRIORITY,
        clampBehavior="none",
        allowDecimal=False,
        w=280,
    )
    buttons = dmc.Group(
        [
            dmc.Button("Set priority", id=_SET),
            dmc.Button("Use what was seen with it", id=_GIVE_BACK, variant="default"),
        ],
        gap="xs",
        mt=24,
    )
    shown = {} if edits else {"display": "none"}
    return dmc.Group([field, buttons], align="flex-start", gap="xs", my="xs", style=shown)


def _fared(services: Services, cluster_id: str, outlook: Outlook) -> Component:
    with services.store.begin(read_only=True) as tx:
        quality = quality_of(tx, cluster_id)
    return fared(outlook.fared, quality, "this VM")


def _why_part(known: _Known, sees_plans: bool, sees_hosts: bool) -> list[Component]:
    """Return why it is here; only as far as somebody sees plans and hosts."""
    if not sees_plans:
        return []
    button = dmc.Button(
        "Why not elsewhere?",
        id=_WHY_NOT,
        variant="default",
        size="compact-sm",
        style={} if sees_hosts else {"display": "none"},
    )
    why = why_here(known.vm.id, known.vm.host_id, known.moves)
    return [
        subheading("Why it is here", button),
        dmc.Text(why, id=_WHY, size="sm"),
        html.Div(id=_PLACES_AT, role="status"),
    ]


def _places(cluster_id: str, rows: list[dict[str, Any]], told: str) -> Component:
    columns = [
        {"field": "id", "headerName": "Host", "minWidth": 100, **link(place(cluster_id, "hosts"))},
        {"field": "zone", "headerName": "Zone", "flex": 6},
        {
            "field": "in_the_way",
            "headerName": "In the way",
            "flex": 40,
            "minWidth": 220,
            "wrapText": True,
            "autoHeight": True,
        },
        {"field": "score_host_s", "headerName": "Contention host-s", "minWidth": 105, **NUMBER},
        {"field": "overload_percent", "headerName": "Overload %", "minWidth": 100, **NUMBER},
    ]
    return [
        dmc.Group(
            [dmc.Text(told, size="sm"), export_button(_PLACES)], justify="space-between", my="xs"
        ),
        table(_PLACES, columns, rows, nothing="There is no other host"),
    ]


def _rules_part(known: _Known, sees_rules: bool) -> list[Component]:
    if not sees_rules:
        return []
    lines = rule_lines(known.inventory, vm_id=known.vm.id)
    return [subheading("Rules that name it"), rules_table(known.inventory.cluster_id, lines, "VM")]


PAGE: Final = Page(
    path="/clusters/<cluster_id>/vms/<path:item_id>",
    title="VM",
    operation="vms.show",
    label="",
    show=show,
    listen=listen,
    has_grid=True,
)
