"""Lineage of a step in OpenLineage's words, asked for by Airflow's provider where it is switched on; else never called.

Described by the operator and not by Airflow Assets as inlets and outlets: an event of an asset may start DAGs, and it
could carry neither row counts nor versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.runs.lineage import Dataset, lineage


def openlineage(pipeline: str, partition: str, step: str, known: Mapping[str, Any]) -> Any:
    """The provider's OperatorLineage of a step that ended, or broke off."""
    from airflow.providers.openlineage.extractors.base import OperatorLineage

    from pipelines.home import Home

    found = lineage(Home.resolve(), pipeline, partition, step, known)
    return OperatorLineage(
        inputs=[_input(one) for one in found.inputs], outputs=[_output(one) for one in found.outputs]
    )


def _input(dataset: Dataset) -> Any:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.generated.input_statistics_input_dataset import InputStatisticsInputDatasetFacet

    counted = {} if dataset.rows is None else {"inputStatistics": InputStatisticsInputDatasetFacet(dataset.rows)}
    namespace, name = dataset.name
    return InputDataset(namespace, name, facets=_facets(dataset), inputFacets=counted)


def _output(dataset: Dataset) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet

    counted = {} if dataset.rows is None else {"outputStatistics": OutputStatisticsOutputDatasetFacet(dataset.rows)}
    namespace, name = dataset.name
    return OutputDataset(namespace, name, facets=_facets(dataset), outputFacets=counted)


def _facets(dataset: Dataset) -> dict[str, Any]:
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet
    from openlineage.client.generated.tags_dataset import TagsDatasetFacet, TagsDatasetFacetFields

    tags = [TagsDatasetFacetFields(key, value, "nightshift") for key, value in dataset.facts.items()]
    version = {"version": DatasetVersionDatasetFacet(dataset.version)} if dataset.version else {}
    return {"tags": TagsDatasetFacet(tags), **version}
