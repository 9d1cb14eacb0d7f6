"""A failure is seen at once, with the same words in each place, and heals by itself when its cause goes."""

import logging
from datetime import timedelta

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.errors import (
    ImageNotFoundError,
    InvalidImageError,
    RegistryUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from dataimportcron.messages import Outcome, PollResult
from dataimportcron.naming import import_name
from tests.support import sight
from tests.support.home import DATA_SOURCE, NAMESPACE
from tests.support.temporal import eventually
from workflows.data_import_cron import DataImportCronWorkflow


def poll_now(cron):
    return cron.handle.execute_update("poll_now", "test", result_type=PollResult)


async def seen(read, wanted):
    """Read until it is so: each place is written soon after the other, not at one moment."""

    async def look():
        return (await read()) == wanted

    await eventually(look)


@pytest.mark.parametrize(
    "failure",
    [
        UnauthorizedError("quay.io answered 401 Unauthorized", hint="check secretRef"),
        ImageNotFoundError("quay.io has no kubevirt/fedora:latest"),
        UntrustedCertificateError("quay.io: self-signed certificate"),
        RegistryUnavailableError("quay.io answered 503"),
        RegistryUnavailableError("quay.io did not answer within 30 s"),
        TooManyRequestsError("quay.io asks for patience", retry_after=3600),
    ],
    ids=lambda failure: failure.message,
)
async def test_a_failing_poll_is_said_everywhere_at_once_and_heals(bound, home, caplog, failure):
    home.source.failure = failure
    reason, words = failure.reason, str(failure)
    with caplog.at_level(logging.WARNING):
        async with bound() as cron:
            home.apply()
            await eventually(lambda: home.condition("UpToDate") == ("False", reason, words))
            await eventually(lambda: sight.warnings(home) == [(reason, words)])
            assert home.condition("Progressing")[:2] == ("False", "NoImport")
            await eventually(lambda: f"{reason}: {words}" in caplog.text)
            await seen(lambda: sight.phase(cron.handle), "PollFailed")
            (entry,) = (await cron.state()).poll_failures
            assert (entry.reason, entry.message) == (reason, words)
            assert f"(once): {reason}: {words}" in await sight.details(cron.handle)
            (decision,) = await sight.results(cron.client, cron.id, "look_up_digest")
            assert (decision["reason"], decision["message"]) == (reason, words)
            again = await poll_now(cron)
            assert (again.reason, again.message) == (reason, words)
            (entry,) = (await cron.state()).poll_failures
            assert entry.polls >= 2
            assert f"{entry.polls} times since" in await sight.details(cron.handle)
            digest = home.release(b"one")
            home.source.failure = None
            await poll_now(cron)
            await eventually(lambda: home.condition("UpToDate")[0] == "True")
            await seen(lambda: sight.phase(cron.handle), "Waiting")
            assert home.points_to() == import_name(DATA_SOURCE, digest)
            assert [failed.reason for failed in (await cron.state()).poll_failures] == [reason]


async def test_a_tag_that_vanishes_after_a_success_is_said_and_the_data_source_stays(bound, home):
    digest = home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        home.source.images.clear()
        result = await poll_now(cron)
        assert home.condition("UpToDate") == ("False", "ImageNotFound", result.message)
        assert home.points_to() == import_name(DATA_SOURCE, digest)
        assert home.volumes() == {import_name(DATA_SOURCE, digest): "Succeeded"}
        await seen(lambda: sight.phase(cron.handle), "PollFailed")


async def test_an_import_that_fails_for_good_is_said_everywhere_and_heals_with_the_next_poll(bound, home):
    digest, words = home.release(b"bad"), "the image holds no file under disk/"
    name = import_name(DATA_SOURCE, digest)
    home.importer.failure = InvalidImageError(words)
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.volumes() == {name: "Failed"})
        await eventually(lambda: home.condition("UpToDate") == ("False", "ImportFailed", words))
        await eventually(lambda: ("ImportFailed", words) in sight.warnings(home))
        # A look between the importer's failure and its end says ImportFailed first.
        await eventually(lambda: home.condition("Progressing")[:2] == ("False", "Failed"))
        assert ("InvalidImage", words) in sight.warnings(home, DataVolume, name)
        await seen(lambda: sight.phase(cron.handle), "ImportFailed")

        async def record():
            history = (await cron.state()).history
            return [(entry.outcome, entry.message) for entry in history] == [(Outcome.FAILED, words)]

        await eventually(record)
        assert f"Failed: {words}" in await sight.details(cron.handle)
        home.importer.failure = None
        await poll_now(cron)
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        assert home.condition("Progressing")[:2] == ("False", "NoImport")
        outcomes = [entry.outcome for entry in (await cron.state()).history]
        assert outcomes == [Outcome.SUCCEEDED, Outcome.FAILED]


async def test_an_import_that_is_tried_again_is_said_at_once_too_and_heals(bound, home):
    digest, cause = home.release(b"one"), "quay.io: connection reset"
    name, words = import_name(DATA_SOURCE, digest), f"failed to pull image: {cause}"
    home.importer.failure = RegistryUnavailableError(cause)

    def running():
        conditions = home.store.get(DataVolume, NAMESPACE, name).status.conditions
        return next((c.status, c.reason, c.message) for c in conditions if c.type == "Running")

    async with bound() as cron:
        home.apply()
        await eventually(lambda: running() == ("False", "ImagePullFailed", words))
        await eventually(lambda: home.condition("UpToDate") == ("False", "ImportFailed", words))
        await eventually(lambda: home.condition("Progressing") == ("False", "ImportFailed", words))
        await eventually(lambda: ("ImportFailed", words) in sight.warnings(home))
        await seen(lambda: sight.phase(cron.handle), "ImportFailed")
        assert words in await sight.details(cron.handle)
        state = await cron.state()
        assert state.running is not None, "it is tried again"
        assert state.decision.message == words
        home.importer.failure = None
        await eventually(lambda: home.condition("UpToDate")[0] == "True", 60)
        assert home.condition("Progressing")[:2] == ("False", "NoImport")
        assert home.points_to() == name
        assert [entry.outcome for entry in (await cron.state()).history] == [Outcome.SUCCEEDED]
        assert home.store.get(DataVolume, NAMESPACE, name).status.phase == "Succeeded"


async def test_a_missing_dependency_heals_when_it_is_applied(bound, home):
    """The registry is asked again as soon as the ConfigMap that was missing is there: a change is enough."""
    template = home.cron().document()["spec"]["template"] if home.apply() else {}
    template["spec"]["source"]["registry"]["certConfigMap"] = "some-certs"
    home.source.failure = ImageNotFoundError("stands for what the real source says: there is no ConfigMap some-certs")
    digest = home.release(b"one")
    async with bound():
        home.apply(template=template)
        await eventually(lambda: home.condition("UpToDate")[1] == "ImageNotFound")
        home.source.failure = None
        home.store.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "some-certs", "namespace": NAMESPACE},
                "data": {"ca.crt": "pem"},
            }
        )
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))


async def test_failed_polls_are_remembered_across_continue_as_new(skipping, home, running):
    home.source.failure = ImageNotFoundError("no such tag")
    async with running(skipping.client, home) as cron:
        first = await cron.start(home.apply(schedule="0 0 * * *"))
        await eventually(lambda: home.condition("UpToDate")[1] == "ImageNotFound")
        await skipping.sleep(timedelta(days=20))
        assert (await cron.handle.describe()).run_id != first.first_execution_run_id
        (entry,) = (await cron.state()).poll_failures
        assert entry.polls >= 20
        assert entry.last - entry.first >= timedelta(days=19)


async def test_retries_of_a_poll_are_counted_when_it_heals(skipping, home, running):
    home.source.failure = RegistryUnavailableError("quay.io cannot be reached")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule="0 0 1 1 *"))
        await eventually(lambda: home.condition("UpToDate")[:2] == ("False", "RegistryUnavailable"))
        await skipping.sleep(timedelta(hours=1))
        asked = home.source.lookups
        home.release(b"one")
        home.source.failure = None
        await skipping.sleep(timedelta(minutes=20))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        (entry,) = (await cron.state()).poll_failures
        assert entry.polls == asked
        assert entry.last - entry.first > timedelta(minutes=40)


async def test_a_failed_import_of_the_same_digest_backs_off_to_the_schedule(skipping, home, running):
    home.release(b"bad")
    home.importer.failure = InvalidImageError("no disk")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule="0 0 * * *"))
        await eventually(lambda: len(home.importer.started) == 1)
        for _ in range(5):
            await cron.handle.signal(DataImportCronWorkflow.changed, "")
        await skipping.sleep(timedelta(days=3))
        await eventually(lambda: len(home.importer.started) == 4)
        assert len((await cron.state()).history) == 4
