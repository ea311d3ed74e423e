"""The price table: what an hour and a call cost, as data with a date, so that every figure can name its source.

`prices.json` beside this module is the table; `lehr cost --refresh` rewrites it from AWS's Price List API. What
runs in Lambda reads the copy that was deployed with its layer.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from lehr.contracts.document import Document
from lehr.errors import UnknownPriceError
from lehr.function_types import FREE_STORAGE_MB, STORAGE_MB, memory_of

PRICES_FILE = Path(__file__).with_name("prices.json")

Usd = Annotated[float, Meta(ge=0.0)]


class PriceTable(Document, frozen=True, kw_only=True):
    """List prices in USD of one region. `instance_hour` has SageMaker's training types (ml.…) and EC2's.

    `spot_share` is an assumption, no price: what spot capacity costs as a share of on-demand.
    """

    schema: Literal[1] = 1
    as_of: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    currency: Literal["USD"]
    region: str
    source: str
    note: str
    spot_share: Annotated[float, Meta(gt=0.0, le=1.0)]
    instance_hour: dict[str, Usd]
    volume_gb_month: Usd
    function_gb_second: dict[str, Usd]
    function_storage_gb_second: Usd = 0.0000000309
    function_million_calls: Usd
    state_transition_million: Usd
    storage_gb_month: Usd
    storage_million_puts: Usd
    storage_million_gets: Usd
    table_million_writes: Usd
    table_million_reads: Usd
    endpoint_million_requests: Usd

    def hour(self, instance_type: str) -> float:
        """USD per hour of one instance on demand, or of a function (`lambda-3008mb`). Raises UnknownPriceError."""
        if (memory_mb := memory_of(instance_type)) is not None:
            return round(3600 * self._function_second(memory_mb), 6)
        try:
            return self.instance_hour[instance_type]
        except KeyError as fault:
            raise UnknownPriceError(
                f"no price is known for {instance_type}",
                place=f"price table of {self.as_of} (lehr/prices.json)",
                hint=f"read it from AWS: lehr cost --refresh --instance {instance_type}",
            ) from fault

    def gb_second(self) -> float:
        """USD per GB-second of a function: the dearer of the two processors, since a recipe names none."""
        return max(self.function_gb_second.values())

    def _function_second(self, memory_mb: int) -> float:
        """Of the training function, whose image is for x86_64, with the storage that the template gives it."""
        storage = self.function_storage_gb_second * (STORAGE_MB - FREE_STORAGE_MB) / 1024
        return memory_mb / 1024 * self.function_gb_second["x86_64"] + storage

    def origin(self) -> str:
        """The half sentence that stands beside every figure."""
        return f"list prices of {self.as_of}, {self.region}"


@cache
def load_prices() -> PriceTable:
    """The table that this program was built with."""
    return PriceTable.from_json(PRICES_FILE.read_bytes())
