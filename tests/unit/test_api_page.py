import re
from pathlib import Path

from dataimportcron import naming
from dataimportcron.api import crds
from dataimportcron.api.page import page
from dataimportcron.api.schema import attributes_of
from dataimportcron.api.shape import alternatives, fields

PAGE = Path(__file__).parents[2] / "docs/api.md"


def test_the_tables_are_those_of_the_models():
    assert page(PAGE.read_text()) == PAGE.read_text(), "run `make crds`"


def test_every_model_of_the_kinds_has_its_table():
    wanted = {name for kind in ("DataImportCron", "DataSource", "DataVolume") for name in _below(kind)}
    assert wanted <= set(re.findall(r"<!-- table (\w+) -->", PAGE.read_text()))


def _below(kind):
    models = {it.model.__name__: it.model for it in crds.STANDALONE}
    waiting, seen = [models[kind]], set()
    while waiting:
        model = waiting.pop()
        for field in fields(model).values():
            for part in _models_in(field.annotation):
                if part.__name__ not in {"ObjectMeta", "OwnerReference", "Empty", *seen}:
                    seen.add(part.__name__)
                    waiting.append(part)
    return seen


def _models_in(annotation):
    for part in alternatives(annotation):
        inner = getattr(part, "__args__", ())
        yield from (model for it in inner for model in _models_in(it))
        if hasattr(part, "model_fields"):
            yield part


def test_a_meaning_is_told_for_each_field_that_has_one():
    assert attributes_of(crds.DataImportCron)["spec"] == "what to poll, when, and what to keep."


def test_each_annotation_and_label_is_told():
    text = PAGE.read_text()
    names = {value for key, value in vars(naming).items() if key.startswith(("ANNOTATION_", "LABEL_"))}
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
