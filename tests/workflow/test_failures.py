"""What goes wrong and heals, in skipped time."""

from datetime import timedelta

from dataimportcron.errors import (
    ImageNotFoundError,
    InvalidImageError,
    RegistryUnavailableError,
    TooManyRequestsError,
)
from dataimportcron.messages import Outcome, PollResult
from dataimportcron.naming import import_name
from tests.support.home import DATA_SOURCE
from tests.support.temporal import eventually
from workflows.data_import_cron import DataImportCronWorkflow


async def test_a_registry_that_is_down_is_retried_before_the_next_tick(skipping, home, running):
    home.source.failure = RegistryUnavailableError("quay.io cannot be reached")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule="0 0 1 1 *"))
        await eventually(lambda: home.condition("UpToDate")[:2] == ("False", "RegistryUnavailable"))
        asked = home.source.lookups
        await skipping.sleep(timedelta(minutes=5))
        await eventually(lambda: home.source.lookups > asked)
        digest = home.release(b"one")
        home.source.failure = None
        await skipping.sleep(timedelta(minutes=15))
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))


async def test_each_retry_of_a_poll_is_a_poll(skipping, home, running):
    home.source.failure = RegistryUnavailableError("quay.io cannot be reached")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule="0 0 1 1 *"))
        await eventually(lambda: home.condition("UpToDate")[:2] == ("False", "RegistryUnavailable"))
        first = home.cron().status.last_execution_timestamp
        await skipping.sleep(timedelta(minutes=30))
        await eventually(lambda: home.cron().status.last_execution_timestamp > first + timedelta(minutes=15))
        assert home.cron().status.last_execution_timestamp <= await skipping.get_current_time()


async def test_retry_after_is_honoured(skipping, home, running):
    home.source.failure = TooManyRequestsError("slow down", retry_after=3600)
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply())
        await eventually(lambda: home.condition("UpToDate")[1] == "TooManyRequests")
        asked = home.source.lookups
        await skipping.sleep(timedelta(minutes=50))
        assert home.source.lookups == asked
        home.source.failure = None
        digest = home.release(b"one")
        await skipping.sleep(timedelta(minutes=15))
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))


async def test_an_image_without_a_disk_fails_for_good_and_waits_for_the_schedule(skipping, home, running):
    digest = home.release(b"bad")
    home.importer.failure = InvalidImageError("the image holds no file under disk/")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply())
        name = import_name(DATA_SOURCE, digest)
        await eventually(lambda: home.volumes().get(name) == "Failed")
        words = "the image holds no file under disk/"
        await cron.handle.signal(DataImportCronWorkflow.changed, "")
        await eventually(lambda: home.condition("UpToDate") == ("False", "ImportFailed", words))
        state = await cron.state()
        assert [(r.outcome, r.message) for r in state.history] == [(Outcome.FAILED, words)]
        assert len(home.importer.started) == 1
        home.importer.failure = None
        await skipping.sleep(timedelta(days=7))
        await eventually(lambda: home.points_to() == name)
        assert home.importer.started == [digest, digest]


async def test_a_failed_import_gives_way_to_a_newer_digest(dev, home, running):
    bad = home.release(b"bad")
    home.importer.failure = InvalidImageError("no disk")
    async with running(dev.client, home) as cron:
        await cron.start(home.apply())
        await eventually(lambda: home.volumes().get(import_name(DATA_SOURCE, bad)) == "Failed")
        home.importer.failure = None
        good = home.release(b"good")
        await cron.handle.execute_update("poll_now", "", result_type=PollResult)
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, good))
        assert list(home.volumes()) == [import_name(DATA_SOURCE, good)]


async def test_a_missing_image_before_any_import(skipping, home, running):
    home.source.failure = ImageNotFoundError("no such tag")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply())
        await eventually(lambda: home.condition("UpToDate") == ("False", "ImageNotFound", "no such tag"))
        assert home.condition("Progressing")[:2] == ("False", "NoImport")
        assert home.points_to() == ""


async def test_an_empty_schedule_polls_by_request_only(skipping, home, running):
    digest = home.release(b"one")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule=""))
        await eventually(lambda: home.condition("UpToDate") == ("False", "NoDigest", "No source digest"))
        await skipping.sleep(timedelta(days=30))
        assert home.source.lookups == 0
        await cron.handle.signal(DataImportCronWorkflow.poll)
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))
