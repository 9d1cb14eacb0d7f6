"""Crons that follow an ImageStream: what they remember of it, and what they import (P-12, NM-04)."""

from __future__ import annotations

from dataclasses import replace

from dataimportcron import naming
from dataimportcron.manifests import image_source, import_of
from dataimportcron.planning import plan
from dataimportcron.polling import source_key, source_of
from tests.support.facts import NOW, A, a_cron, facts, resolved
from tests.support.home import cron_document

REFERENCE = f"registry.example/golden/rhel@{A}"


def template(**registry):
    document = cron_document()["spec"]["template"]
    document["spec"]["source"] = {"registry": registry}
    return document


def a_stream_cron():
    return a_cron(template=template(imageStream="rhel:9", pullMethod="node"))


def test_the_source_is_the_image_stream():
    source = source_of(a_stream_cron())
    assert (source.url, source.image_stream, source.pull_method) == ("", "rhel:9", "node")
    assert source_key(a_stream_cron()) == "imagestream:rhel:9"


def test_what_names_no_image_is_no_source():
    registry = a_stream_cron().spec.template.spec.source.registry
    assert image_source(registry.model_copy(update={"image_stream": None}), "golden") is None


def test_the_image_behind_a_digest_is_remembered_and_imported():
    made = plan(facts(a_stream_cron(), resolved=replace(resolved(A), image=REFERENCE)))
    cron = made.cron
    assert cron.metadata.annotations[naming.ANNOTATION_IMAGE_STREAM_REF] == REFERENCE
    registry = import_of(cron, made.decision.data_volume, A, "", NOW).spec.source.registry
    assert (registry.url, registry.image_stream, registry.pull_method) == (f"docker://{REFERENCE}", None, "node")


def test_a_cron_with_a_url_remembers_no_image():
    cron = a_cron({naming.ANNOTATION_IMAGE_STREAM_REF: "of an earlier spec"})
    assert naming.ANNOTATION_IMAGE_STREAM_REF not in plan(facts(cron, resolved=resolved(A))).cron.metadata.annotations


def test_without_a_known_image_the_stream_itself_is_imported():
    registry = import_of(a_stream_cron(), "rhel-1", A, "", NOW).spec.source.registry
    assert (registry.url, registry.image_stream) == (None, "rhel:9")
