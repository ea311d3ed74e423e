"""Which models there are and where they come from, out of the registry and the packages' documents."""

from __future__ import annotations

import msgspec

from functions.predict.descriptions import (
    InputDescription,
    ModelDescription,
    ModelList,
    ServingModel,
    TableDescription,
)
from functions.predict.serving import Champion
from lehr import layout
from lehr.contracts.package import (
    CARD_FILE,
    LINEAGE_FILE,
    TRAINING_FILE,
    Lineage,
    ModelPackage,
)
from lehr.contracts.training import TrainingSummary
from lehr.errors import ContractError, ModelPackageError, UserError
from lehr.ports import ChampionPointers, FolderReader
from lehr_runtime.package_files import PackageFiles

MAX_PROJECTS_LISTED = 100
MAX_DOCUMENT_BYTES = 1 << 20
MAX_PACKAGES_KEPT = 16


class _Documents(msgspec.Struct, frozen=True):
    """What a package says of itself; None for what it lacks."""

    card: str | None
    training: TrainingSummary | None
    lineage: Lineage | None


class Catalogue:
    """Reads what packages say of themselves; documents are kept, since a version never changes."""

    def __init__(self, store: FolderReader, registry: ChampionPointers) -> None:
        self._store, self._registry = store, registry
        self._documents: dict[tuple[str, str], _Documents] = {}

    def serving(self) -> ModelList:
        """The pushed projects with a champion, by name."""
        models, is_truncated = [], False
        for count, name in enumerate(self._projects()):
            if count == MAX_PROJECTS_LISTED:
                is_truncated = True
                break
            alias = self._registry.alias(name)
            if alias is not None:
                models.append(ServingModel(name, alias.champion, alias.generation))
        return ModelList(models, is_truncated)

    def describe(self, project: str, champion: Champion) -> ModelDescription:
        """The serving model. Raises ModelPackageError for a document whose bytes are not those of the package."""
        model = champion.model
        signature = model.signature
        key = (project, model.version)
        if key not in self._documents:
            if len(self._documents) >= MAX_PACKAGES_KEPT:
                self._documents.clear()
            self._documents[key] = self._read(project, model.package)
        documents = self._documents[key]
        training, lineage = documents.training, documents.lineage
        return ModelDescription(
            project=project,
            model_version=model.version,
            generation=champion.generation,
            task=signature.task,
            labels=signature.labels,
            input=InputDescription(signature.input.dtype, signature.input.shape),
            sample_rate=signature.of_sound,
            table=TableDescription(table.columns, table.target) if (table := signature.of_table) else None,
            files=dict(model.package.files),
            metrics=training.figures() if training and training.epochs else None,
            card=documents.card,
            training=training.to_value() if training else None,
            lineage=lineage.to_value() if lineage else None,
        )

    def _projects(self) -> list[str]:
        """Names below projects/ that a project can have."""
        names = []
        for name in self._store.folders(layout.PROJECTS):
            try:
                names.append(layout.checked_name(name))
            except UserError:
                continue
        return names

    def _read(self, project: str, package: ModelPackage) -> _Documents:
        files = PackageFiles(self._store, project, package.version, package)
        card, training, lineage = (
            files.fetch(name, MAX_DOCUMENT_BYTES) if name in package.files else None
            for name in (CARD_FILE, TRAINING_FILE, LINEAGE_FILE)
        )
        try:
            return _Documents(
                card.decode() if card is not None else None,
                TrainingSummary.from_json(training) if training is not None else None,
                Lineage.from_json(lineage) if lineage is not None else None,
            )
        except (ContractError, UnicodeDecodeError) as fault:
            raise ModelPackageError(f"{package.version}: {fault}") from fault
