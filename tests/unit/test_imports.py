"""Which imports are a cron's, and which of them holds a digest."""

from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.imports import Imports, find_import
from dataimportcron.manifests import with_annotations, with_labels
from tests.support.facts import A, B, C, a_cron, an_import
from tests.support.home import DATA_SOURCE


def named(volume, name):
    return volume.model_copy(update={"metadata": volume.metadata.model_copy(update={"name": name})})


def test_a_crons_imports_are_those_with_its_label_or_a_name_of_its_data_source():
    labelled, bare = named(an_import(A), "renamed-1"), with_labels(an_import(B), {naming.LABEL_CRON: None})
    foreign = with_labels(named(an_import(C), "other-cccccccccccc"), {naming.LABEL_CRON: "other"})
    stem_only = with_labels(named(an_import(C), f"{DATA_SOURCE}-39"), {naming.LABEL_CRON: None})
    both = an_import(A)
    assert Imports([labelled, foreign, stem_only, bare, both]).of(a_cron()) == [both, bare, labelled]


def test_of_several_imports_of_a_digest_the_complete_one_counts():
    done, running = named(an_import(A), "a"), named(an_import(A, Phase.IMPORT_IN_PROGRESS), "b")
    assert find_import((done, running), a_cron(), A, "") == done
    later = named(done, "c")
    assert find_import((later, done), a_cron(), A, "") == find_import((done, later), a_cron(), A, "") == later


def test_an_import_is_known_by_its_digest_then_its_manifest_then_its_name():
    of_digest, of_manifest = named(an_import(A), "x"), named(an_import(B), "y")
    unmarked = {naming.ANNOTATION_DIGEST: None, naming.ANNOTATION_MANIFEST_DIGEST: None}
    of_name = with_annotations(an_import(A), unmarked)
    assert find_import((of_name, of_manifest, of_digest), a_cron(), A, "") == of_digest
    assert find_import((of_name, of_manifest), a_cron(), A, B) == of_manifest
    assert find_import((of_manifest, of_name), a_cron(), A, "") == of_name
    assert find_import((of_manifest,), a_cron(), A, "") is None
