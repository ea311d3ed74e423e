"""Prices from AWS's Price List API: what `lehr cost --refresh` puts in the place of the table's figures.

Not run against AWS yet; the tests answer in the API's documented form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from lehr.prices import PriceTable

# The API has endpoints in a few regions only, each of which knows the prices of all.
API_REGION = "us-east-1"
_TRAINING = re.compile(r"(^|-)Train:ml\.")


def refreshed(
    table: PriceTable, client: Any, region: str, today: str, more: Sequence[str] = ()
) -> tuple[PriceTable, list[str]]:
    """The table with the hours of its instance types, and of `more`, in `region`; and the types without a price there.

    What is no instance keeps its price and its date, which the new table's source names.
    """
    names = sorted({*table.instance_hour, *more})
    hours = {name: _hour(client, region, name) for name in names}
    others = re.search(r"others as of (\S+)", table.source)
    changed = msgspec.structs.replace(
        table,
        as_of=today,
        region=region,
        source=f"AWS Price List API, instance hours; others as of {others[1] if others else table.as_of}",
        note="List prices without tax, discounts or free tier, in one region.",
        instance_hour={name: hour for name, hour in hours.items() if hour is not None},
    )
    return changed, [name for name in names if hours[name] is None]


def to_text(table: PriceTable) -> str:
    """As prices.json is written: for people and for diffs."""
    return json.dumps(table.to_value(), indent=2) + "\n"


def _hour(client: Any, region: str, instance_type: str) -> float | None:
    """USD per hour on demand; None where the type is not offered."""
    filters = {"regionCode": region}
    if instance_type.startswith("ml."):
        service, wanted = "AmazonSageMaker", filters | {"instanceName": instance_type}
    else:
        service = "AmazonEC2"
        wanted = filters | {
            "instanceType": instance_type,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
    prices = [
        price
        for product in _products(client, service, wanted)
        if service == "AmazonEC2" or _TRAINING.search(product["product"]["attributes"].get("usagetype", ""))
        for price in _on_demand(product)
    ]
    return max(prices, default=None)


def _products(client: Any, service: str, wanted: dict[str, str]) -> Iterator[dict[str, Any]]:
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    query: dict[str, Any] = {"ServiceCode": service, "Filters": filters, "FormatVersion": "aws_v1"}
    while True:
        page = client.get_products(**query)
        for product in page["PriceList"]:
            yield json.loads(product)
        if not page.get("NextToken"):
            return
        query["NextToken"] = page["NextToken"]


def _on_demand(product: dict[str, Any]) -> Iterator[float]:
    for term in product["terms"].get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            price = float(dimension["pricePerUnit"].get("USD", 0))
            if dimension["unit"].lower() in {"hrs", "hours"} and price > 0:
                yield price
