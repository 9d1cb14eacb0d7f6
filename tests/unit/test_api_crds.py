import itertools
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataimportcron.api.crds import BESIDE, SETTINGS, STANDALONE, files
from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.schema import QUANTITY, schema_of
from dataimportcron.api.types import DataImportCron

CRDS = Path(__file__).parents[2] / "deploy/crds"


def test_the_definitions_in_the_tree_are_those_of_the_models():
    stored = {str(path.relative_to(CRDS)): path.read_text() for path in CRDS.rglob("*.yaml")}
    assert stored == files(), "run `make crds`"


def test_both_groups_have_one_schema_of_a_cron():
    ours, cdis = (yaml.safe_load(files()[f"{path}.yaml"])["spec"] for path in (
        "beside/dataimportcrons.dataimportcron.io", "standalone/dataimportcrons.cdi.kubevirt.io",
    ))  # fmt: skip
    assert ours["versions"][0]["schema"] == cdis["versions"][0]["schema"]
    assert not set(ours["names"]["shortNames"]) & set(cdis["names"]["shortNames"])


def test_a_cluster_beside_cdi_gets_no_definition_of_cdis_group():
    assert [definition.group for definition in BESIDE] == ["dataimportcron.io"]
    assert {definition.group for definition in (*SETTINGS, *STANDALONE)} == {"cdi.kubevirt.io"}


@pytest.mark.parametrize("definition", [*SETTINGS, *STANDALONE, *BESIDE], ids=lambda it: it.name)
def test_each_field_has_a_description_that_begins_as_a_sentence(definition):
    described = dict(_fields(schema_of(definition.model)))
    assert len(described) > 5
    assert [path for path, text in described.items() if not text[:1].isupper() and not text.startswith("{}")] == []


def _fields(schema, path=""):
    for name, child in schema.get("properties", {}).items():
        if path or name not in {"apiVersion", "kind", "metadata"}:
            yield f"{path}.{name}", child.get("description", "")
            yield from itertools.chain(_fields(child, f"{path}.{name}"), _fields(child.get("items", {}), f"{path}[]"))


def test_a_field_without_a_description_is_found():
    class Undescribed(DataImportCron):
        """Has a field more."""

        more: str = ""

    with pytest.raises(ValueError, match=r"Undescribed\.more has no line"):
        schema_of(Undescribed)


@given(st.from_regex(re.compile(rf"(?:{QUANTITY})\Z", re.ASCII)) | st.text("+-.0123456789eEkKmMiu", max_size=12))
def test_the_pattern_of_quantities_takes_those_that_are_one(text):
    assert bool(re.fullmatch(QUANTITY, text, re.ASCII)) == _is_quantity(text)


def _is_quantity(text):
    try:
        parse_quantity(text[:64])
    except ValueError:
        return False
    return True
