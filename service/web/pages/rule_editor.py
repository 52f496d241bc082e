"""The form in which a rule is made or changed, laid over the table of rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.inventory.effective import look_up
from service.inventory.rules import find_rule, keep_rule
from service.security.principal import Principal
from service.store.base import Kind
from service.web.door import require
from service.web.errors import notice
from service.web.fields import every_field, placed, typed
from service.web.pages.rule_fields import FORM, VM_LABELS, fields, kinds
from service.web.parts import in_the_way
from service.web.rule_form import MODELS, VM_LISTS, fields_of, rule_of, selected, with_more
from service.web.site import Component
from solver.domain.errors import ForeswapError, InvalidInputError
from solver.instances import rule_to_document

CLUSTER: Final = "rules-cluster"
ADD: Final = "rules-add"
EDIT: Final = "rules-edit"
DONE: Final = "rules-done"
"""Changes that can be undone."""
SAVED: Final = "rules-saved"
"""The change that was saved last."""

_MODAL: Final = "rules-modal"
_DRAFT: Final = "rules-draft"
_KIND: Final = "rules-kind"
_FIELDS: Final = "rules-fields"
_INTO: Final = "rules-into"
_GROUP: Final = "rules-group"
_PATTERN: Final = "rules-pattern"
_SELECT: Final = "rules-select"
_FORCE: Final = "rules-force"
_SAVE: Final = "rules-save"
_WRONG: Final = "rules-wrong"

Draft = dict[str, Any]
"""What the form begins with: kind, fields by path, and the revision that stands, 0 for none."""

_NEW: Final[Draft] = {"kind": "anti_affinity", "fields": {}, "revision": 0, "new": True}


def draft_of(services: Services, cluster_id: str, rule_id: str) -> Draft:
    """Return the form of a rule that is there.

    Raises
    ------
    NotFoundError
        If it is not.
    """
    with services.store.begin(read_only=True) as tx:
        standing = find_rule(look_up(tx, cluster_id), rule_id)
        kept = tx.items.find(Kind.RULE, cluster_id, [rule_id])
    document = rule_to_document(standing.rule)
    return {
        "kind": document["kind"],
        "fields": fields_of(document),
        "revision": kept[rule_id].revision if rule_id in kept else 0,
        "new": False,
    }


def editor(draft: Draft | None) -> list[Component]:
    """Return the form; open where there is something to begin with."""
    form = [
        dmc.Select(
            id=_KIND,
            label="Kind",
            data=kinds(),
            value=_NEW["kind"] if draft is None else draft["kind"],
            allowDeselect=False,
            mb="xs",
        ),
        dmc.Stack(id=_FIELDS, gap="sm"),
        _selection(),
        html.Div(id=_WRONG, role="alert"),
        dmc.Group(
            [
                dmc.Checkbox(id=_FORCE, label="Keep it whatever it contradicts or names in vain"),
                dmc.Button("Save the rule", id=_SAVE),
            ],
            justify="space-between",
            mt="md",
        ),
    ]
    return [
        dcc.Store(id=DONE),
        dcc.Store(id=SAVED),
        dcc.Store(id=_DRAFT, data=draft),
        dmc.Modal(
            form,
            id=_MODAL,
            title="Rule",
            size="xl",
            opened=draft is not None,
            closeButtonProps={"aria-label": "Close"},
        ),
    ]


def _selection() -> Component:
    """Return what adds VMs to a list by group and by the form of their names."""
    return dmc.Fieldset(
        dmc.Group(
            [
                dmc.Select(id=_GROUP, label="Of the group", data=[], clearable=True, w=170),
                dmc.TextInput(id=_PATTERN, label="Named like", placeholder="web-*", w=150),
                dmc.Select(id=_INTO, label="To", data=[], allowDeselect=False, w=170),
                dmc.Button("Add these VMs", id=_SELECT, variant="default", mt=25),
            ],
            align="flex-start",
            gap="sm",
        ),
        legend="Add many VMs",
        mt="sm",
    )


def listen(app: Dash, services: Services, grid: str) -> None:
    """Register what happens in the form; ``grid`` is the table that rules are selected in."""
    _listen_to_opening(app, services, grid)
    _listen_to_saving(app, services)

    @app.callback(
        Output(every_field(FORM), "value"),
        Output(_PATTERN, "error"),
        Input(_SELECT, "n_clicks"),
        State(_GROUP, "value"),
        State(_PATTERN, "value"),
        State(_INTO, "value"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def add_many(
        clicks: int | None,
        group: str | None,
        pattern: str | None,
        into: str,
        ids: list[Any],
        values: list[Any],
        cluster_id: str,
    ) -> Any:
        """Add the VMs that fit to a list."""
        kept = [no_update] * len(ids)
        if not clicks:
            return kept, no_update
        require(services, "rules.put", cluster_id)
        with services.store.begin(read_only=True) as tx:
            vms = look_up(tx, cluster_id).cluster.vms
        try:
            found = selected(vms, group=group or "", pattern=(pattern or "").strip())
        except InvalidInputError as error:
            return kept, str(error).removeprefix(f"{error.path}: ")
        return [
            with_more(value, found) if each["path"] == into else no_update
            for each, value in zip(ids, values, strict=True)
        ], ""


def _listen_to_opening(app: Dash, services: Services, grid: str) -> None:
    @app.callback(
        Output(_MODAL, "opened"),
        Output(_DRAFT, "data"),
        Output(_KIND, "value"),
        Output(_WRONG, "children", allow_duplicate=True),
        Output(_FORCE, "checked"),
        Input(ADD, "n_clicks"),
        Input(EDIT, "n_clicks"),
        State(grid, "selectedRows"),
        State(CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def open_form(
        add: int | None, edit: int | None, chosen: list[Mapping[str, Any]] | None, cluster_id: str
    ) -> Any:
        """Begin with an empty form, or with the rule that is selected."""
        if not (add or edit):
            return (no_update,) * 5
        require(services, "rules.put", cluster_id)
        draft = dict(_NEW)
        if ctx.triggered_id == EDIT and chosen:
            draft = draft_of(services, cluster_id, str(chosen[0]["id"]))
        # The same rule again is a new beginning, too.
        draft["opened"] = [add, edit]
        return True, draft, draft["kind"], None, False

    @app.callback(
        Output(_FIELDS, "children"),
        Output(_GROUP, "data"),
        Output(_INTO, "data"),
        Output(_INTO, "value"),
        Input(_KIND, "value"),
        Input(_DRAFT, "data"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(CLUSTER, "children"),
    )
    def draw(
        kind: str, draft: Draft | None, ids: list[Any], values: list[Any], cluster_id: str
    ) -> Any:
        """Show the fields of a kind; what was typed stays where the kind has such a field."""
        if draft is None or kind not in MODELS:
            return (no_update,) * 4
        require(services, "rules.list", cluster_id)
        begins = any(each["prop_id"] == f"{_DRAFT}.data" for each in ctx.triggered) or not ids
        known = draft["fields"] if begins else typed(ids, values)
        with services.store.begin(read_only=True) as tx:
            inventory = look_up(tx, cluster_id)
        hosts = [str(host.id) for host in inventory.cluster.hosts]
        groups = sorted({vm.group for vm in inventory.cluster.vms} - {""})
        lists = [
            {"value": path, "label": VM_LABELS[path]}
            for path in VM_LISTS
            if path in MODELS[kind].model_fields
        ]
        return fields(kind, known, hosts, new=draft["new"]), groups, lists, "vm_ids"


def _listen_to_saving(app: Dash, services: Services) -> None:
    @app.callback(
        Output(every_field(FORM), "error"),
        Output(_WRONG, "children"),
        Output(SAVED, "data"),
        Output(_MODAL, "opened", allow_duplicate=True),
        Input(_SAVE, "n_clicks"),
        State(_KIND, "value"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(_FORCE, "checked"),
        State(_DRAFT, "data"),
        State(CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def save(
        clicks: int | None,
        kind: str,
        ids: list[Any],
        values: list[Any],
        force: bool | None,
        draft: Draft,
        cluster_id: str,
    ) -> Any:
        """Write the rule, or say what is in the way."""
        if not clicks:
            return [no_update] * len(ids), no_update, no_update, no_update
        principal = require(services, "rules.put", cluster_id)
        try:
            done = _saved(
                services, principal, cluster_id, kind, typed(ids, values), bool(force), draft
            )
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            return beside, in_the_way(apart, title="The rule is not kept"), no_update, no_update
        notice("Saved", f"Rule {done['id']} is kept.")
        return [""] * len(ids), None, done, False


def _saved(
    services: Services,
    principal: Principal,
    cluster_id: str,
    kind: str,
    by_path: Mapping[str, Any],
    force: bool,
    draft: Draft,
) -> dict[str, Any]:
    """Write a rule; return what is needed to undo it."""
    rule = rule_of(kind, by_path)
    with services.store.begin(read_only=True) as tx:
        before = tx.items.find(Kind.RULE, cluster_id, [rule.id]).get(rule.id)
    kept = keep_rule(
        services.store,
        principal,
        cluster_id,
        rule,
        force=force,
        expected_revision=int(draft["revision"]),
        now=services.now(),
    )
    return {
        "id": rule.id,
        "before": None if before is None else dict(before.document),
        "revision": kept.revision,
    }
