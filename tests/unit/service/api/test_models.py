"""Models of the published document: each name stands for one of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from pydantic import BaseModel

from service.api.openapi import document
from service.app import App


def leaves(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the models that no other is made from."""
    below = model.__subclasses__()
    if not below:
        yield model
    for each in below:
        yield from leaves(each)


def test_no_two_models_share_a_name(app: App) -> None:
    """The document knows them by name, so that the second would be described as the first."""
    published = document(app)["components"]["schemas"]
    modules = defaultdict(set)
    for model in leaves(BaseModel):
        if model.__module__.partition(".")[0] in ("solver", "service"):
            modules[model.__name__].add(model.__module__)
    shared = {name: where for name, where in modules.items() if len(where) > 1}
    assert not {name: where for name, where in shared.items() if name in published}
