"""What the API server makes of the generated definitions."""

import re
from pathlib import Path

import pytest
import yaml

from dataimportcron.api.crds import BESIDE, SETTINGS, STANDALONE, config
from dataimportcron.errors import TransientError
from tests.support.admission import ADMITTED, CDI, OWN, REFUSED, as_list, with_field

KINDS = {CDI: {"DataImportCron", "DataSource", "DataVolume"}, OWN: {"DataImportCron"}}
SAMPLES = sorted((Path(__file__).parents[2] / "deploy/samples").glob("*.yaml"))


def named(case, document, version):
    """The case under its own name, where its name is not the case."""
    name = document["metadata"]["name"]
    metadata = document["metadata"] | {"name": case if name == "case" else name}
    return document | {"metadata": metadata, "apiVersion": version}


def cases(table, version):
    """The table's documents whose kind the group has."""
    return {case: named(case, it, version) for case, it in table.items() if it["kind"] in KINDS[version]}


@pytest.fixture(scope="module")
def refusals(api):
    """What kubectl says of each document that is to be refused, by its apiVersion and case."""
    found = {}
    for version in KINDS:
        documents = cases({case: document for case, (document, _) in REFUSED.items()}, version)
        with pytest.raises(TransientError) as caught:
            api.kubectl("apply", "--dry-run=server", "-f", "-", document=as_list(documents.values()))
        told = dict(re.findall(r'(?m)"([^" ]*)" is invalid: (.*)$', caught.value.message))
        found |= {(version, case): told[document["metadata"]["name"]] for case, document in documents.items()}
    return found


@pytest.mark.parametrize(
    ("version", "case"),
    [(version, case) for version in KINDS for case, (it, _) in REFUSED.items() if it["kind"] in KINDS[version]],
)
def test_what_cdis_webhook_refuses_is_refused_in_its_words(refusals, version, case):
    assert REFUSED[case][1] in refusals[version, case]


def test_what_is_refused_shows_no_credentials(refusals):
    assert "user:pw" not in refusals[CDI, "url-credentials"]


@pytest.mark.parametrize("size", ["5GiB", "", ".", "five"])
def test_a_size_that_go_cannot_read_is_refused(api, size):
    document = with_field(ADMITTED["v01"], "spec.template.spec.pvc.resources.requests.storage", size)
    with pytest.raises(TransientError, match=r"requests\.storage.* in body should match"):
        api.kubectl("apply", "--dry-run=server", "-f", "-", document=document)


@pytest.mark.parametrize("version", [CDI, OWN])
def test_odd_documents_that_mean_something_are_admitted(api, version):
    documents = cases(ADMITTED, version)
    told = api.kubectl("apply", "--dry-run=server", "-f", "-", document=as_list(documents.values()))
    assert len(told.splitlines()) == len(documents)


@pytest.mark.parametrize("definition", [*SETTINGS, *STANDALONE, *BESIDE], ids=lambda it: it.name)
def test_each_schema_is_structural_and_its_names_are_its_own(api, definition):
    status = api.get("crd", definition.name)["status"]
    conditions = {it["type"]: it["status"] for it in status["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert status["acceptedNames"]["shortNames" if definition.short else "plural"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda it: it.name)
def test_the_documentations_yaml_is_applied_as_it_stands(api, sample):
    api.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(sample))


@pytest.mark.parametrize("sample", [it for it in SAMPLES if "DataImportCron" in it.read_text()], ids=lambda it: it.name)
def test_beside_cdi_only_the_api_version_differs(api, sample):
    document = yaml.safe_load(sample.read_text()) | {"apiVersion": OWN}
    api.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", document=document)


def test_a_misspelt_field_is_refused(api):
    document = named("misspelt", ADMITTED["v01"], CDI)
    document["spec"] = document["spec"] | {"importToKeep": 3}
    with pytest.raises(TransientError, match=r'unknown field "spec.importToKeep"'):
        api.kubectl("apply", "--dry-run=server", "-f", "-", document=document)


def test_the_settings_that_kubevirt_reads_are_there(api):
    api.kubectl("apply", "--server-side", "-f", "-", document=config())
    assert api.get("cdiconfig", "config")["status"] == {"filesystemOverhead": {"global": "0.06"}}
    profile = {"apiVersion": CDI, "kind": "StorageProfile", "metadata": {"name": "fast"}, "spec": {}}
    api.apply(profile)
    sets = [{"accessModes": ["ReadWriteMany", "ReadWriteOnce"], "volumeMode": "Block"}]
    status = {"status": {"storageClass": "fast", "provisioner": "example.org/disk", "claimPropertySets": sets}}
    api.kubectl("patch", "storageprofile", "fast", "--subresource=status", "--type=merge", "-p", yaml.dump(status))
    assert api.get("storageprofile", "fast")["status"] == status["status"]
    assert api.get("cdis")["items"] == []


def test_kubectl_explain_reads_well(api):
    spec = api.kubectl("explain", "dic.spec")
    assert "What to poll, when, and what to keep." in spec
    fields = dict(re.findall(r"(?m)^  (\w+)\t<(.*)$", spec))
    assert list(fields) == [
        "garbageCollect", "importsToKeep", "managedDataSource", "retentionPolicy", "schedule", "serviceAccountName",
        "template",
    ]  # fmt: skip
    assert [name for name, kind in fields.items() if "-required-" in kind] == [
        "managedDataSource", "schedule", "template",
    ]  # fmt: skip
    schedule = " ".join(api.kubectl("explain", "dataimportcrons.spec.schedule", f"--api-version={OWN}").split())
    assert "five fields (minute, hour, day of month, month, day of week)" in schedule
    assert "in UTC unless CRON_TZ=zone stands before it" in schedule
    size = " ".join(api.kubectl("explain", "dv.spec.storage.resources.requests").split())
    assert "in bytes or as a quantity such as 5Gi" in size


def test_each_field_that_kubectl_explains_has_a_meaning(api):
    told = api.kubectl("explain", "dv", "--recursive=false") + api.kubectl("explain", "das.spec")
    assert "<no description>" not in told
