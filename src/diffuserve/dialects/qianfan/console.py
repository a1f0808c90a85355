"""The model list of the vendor's console, which clients that sign ask for before their first picture."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from diffuserve.core.principal import Principal
from diffuserve.dialects.qianfan.parse import DEFAULT_ENDPOINT, model_of
from diffuserve.dialects.qianfan.wire import Service, ServiceList, ServiceLists
from diffuserve.jobs.catalog import Catalog

IMAGES = "/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image"
KNOWN_NAME = "Stable-Diffusion-XL"
"""What every client calls the model behind `sd_xl`."""


def service_list(catalog: Catalog, who: Principal, body: Mapping[str, Any], base: str) -> ServiceList:
    """The models that `who` may use: each under its own name, and the one behind `sd_xl` under the name clients know."""
    kinds = body.get("apiTypefilter")
    if isinstance(kinds, list) and kinds and "text2image" not in kinds:
        return _answer([])
    named = {KNOWN_NAME: model_of(DEFAULT_ENDPOINT, catalog) or catalog.default.name}
    named |= {model.name: model.name for model in catalog.models}
    return _answer(
        [
            Service(name=name, url=f"{base}{IMAGES}/{_endpoint(name, model)}")
            for name, model in named.items()
            if who.allows("model", model)
        ]
    )


def _endpoint(name: str, model: str) -> str:
    return DEFAULT_ENDPOINT if name == KNOWN_NAME and name != model else quote(model, safe="")


def _answer(services: list[Service]) -> ServiceList:
    return ServiceList(log_id=str(secrets.randbelow(10**10)), result=ServiceLists(common=services))
