"""What a person finds in the Temporal UI, in a real browser: which crons there are, what became of them, and why."""

import pytest

from dataimportcron.naming import cron_workflow_id, import_name, volume_workflow_id
from demo.host import host, wait_for
from demo.push import Image, disk_layer, push
from demo.registry import client, registry
from demo.story import CRON, DATA_SOURCE, NAMESPACE, REPOSITORY, SAMPLES, trust
from demo.temporal_ui import temporal_ui

BROKEN = "broken-image-import-cron"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def home(work):
    """A host whose one cron has imported twice, and whose other one finds no image."""
    with registry(work / "registry") as running, host(work / "state") as prepared, client(running) as http:
        prepared.mirror("quay.io", running)
        trust(prepared, running.ca, work)
        prepared.start()
        for command, content in (
            (("apply", "-f", str(SAMPLES / "fedora.yaml")), b"one" * 9000),
            (("poll", CRON, "-n", NAMESPACE), b"two" * 9000),
        ):
            name = import_name(DATA_SOURCE, release(http, content, work))
            prepared.run(*command)
            wait_for(name, 60, lambda name=name: prepared.points_to(NAMESPACE, DATA_SOURCE) == name)
        broken = (SAMPLES / "fedora.yaml").read_text().replace(CRON, BROKEN).replace(REPOSITORY, "nobody/nothing")
        (work / "broken.yaml").write_text(
            broken.replace(f"managedDataSource: {DATA_SOURCE}", "managedDataSource: broken")
        )
        prepared.run("apply", "-f", str(work / "broken.yaml"))
        wait_for("the failed poll", 60, lambda: prepared.cron(NAMESPACE, BROKEN).status.last_execution_timestamp)
        yield prepared


def release(http, content, work):
    disk = work / "disk.img"
    disk.write_bytes(content)
    return push(http, REPOSITORY, "latest", Image(layers=(disk_layer(disk, work),)))


@pytest.fixture(scope="module")
def ui(home):
    with temporal_ui(home.ui) as opened:
        yield opened


@pytest.fixture(scope="module")
def site(home):
    return home.state.identity().site


@pytest.fixture(scope="module")
def newest(home):
    return home.points_to(NAMESPACE, DATA_SOURCE)


def test_the_list_says_of_each_object_where_it_stands(ui, newest):
    ui.executions(NAMESPACE)
    words = ui.wait_for("DicObject", "DicPhase", "DicDigest", "PollFailed", "Waiting", "Done")
    digest = newest.removeprefix(f"{DATA_SOURCE}-")
    assert all(f"{NAMESPACE}/{name}" in words for name in (CRON, BROKEN, newest))
    assert f"sha256:{digest}" in words


def test_an_import_has_a_row_of_its_own(ui, site, newest):
    ui.execution(volume_workflow_id(site, NAMESPACE, newest), "Event History")
    ui.wait_for("COMPLETED", "prepare_data_volume", "import_data_volume", "Workflow Execution Completed")


def test_the_details_say_where_a_cron_stands_and_what_it_imported(ui, site, newest):
    ui.execution(cron_workflow_id(site, NAMESPACE, CRON), "User Metadata")
    words = ui.wait_for("Waiting", "UpToDate: Latest import is up to date", "Next poll: ", "outcome")
    assert newest.removeprefix(f"{DATA_SOURCE}-") in words
    assert words.count("Succeeded") == 2


def test_a_failing_poll_says_why_in_the_condition_s_words(ui, site, home):
    ui.execution(cron_workflow_id(site, NAMESPACE, BROKEN), "User Metadata")
    [condition] = [one for one in home.cron(NAMESPACE, BROKEN).status.conditions if one.type == "UpToDate"]
    assert condition.reason == "ImageNotFound"
    ui.wait_for("PollFailed", f"{condition.reason}: {condition.message}", "nobody/nothing", "Next poll: ")


def test_a_waiting_cron_says_what_it_waits_for(ui, site):
    """The timer's summary says it; the stack, which Python's SDK cuts at its outermost frame, that it waits at all."""
    workflow_id = cron_workflow_id(site, NAMESPACE, CRON)
    ui.execution(workflow_id, "Event History")
    ui.wait_for("Timer Started", "next poll ")
    ui.execution(workflow_id, "Call Stack")
    ui.wait_for("each location where Workflow code is waiting", f"run (workflow: DataImportCron, id: {workflow_id}")
