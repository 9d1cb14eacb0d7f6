"""What `doctor` asks a real Temporal server."""

from datetime import timedelta

from dataimportcron.host import clock
from tests.support.home import NAME, NAMESPACE
from tests.support.temporal import eventually
from tests.workflow.conftest import SITE
from worker.doctor import engine
from worker.doctor.finding import Level
from worker.temporal import Endpoint


async def findings(dev, home):
    endpoint = Endpoint(address=dev.client.service_client.config.target_host)
    return [finding async for finding in engine.check(endpoint, SITE, [home.cron()], clock.now())]


def wrong(found):
    return [finding for finding in found if finding.level is Level.WRONG]


async def test_a_server_without_workers_is_wrong_in_each_queue_and_for_each_cron(dev, home):
    home.apply()
    found = await findings(dev, home)
    assert next(f for f in found if f.what == "search attributes").level is Level.OK
    assert next(f for f in found if f.what == "retention").cure.endswith("--retention 90d")
    assert [(f.what, f.found) for f in wrong(found)] == [
        ("workers", f"nobody polls dataimportcron-{SITE} for workflows"),
        ("workers", f"nobody polls dataimportcron-{SITE} for activities"),
        ("workers", f"nobody polls dataimportcron-{SITE}-import for activities"),
        (f"execution {SITE}/dataimportcron/{NAMESPACE}/{NAME}", "has no execution"),
    ]


async def test_a_server_with_workers_and_executions_is_sound(dev, home, running):
    ref = home.apply()
    async with running(dev.client, home) as cron:
        await cron.start(ref)

        async def sound():
            return not wrong(await findings(dev, home))

        await eventually(sound)
        late = clock.now() - timedelta(minutes=1)
        endpoint = Endpoint(address=dev.client.service_client.config.target_host)
        found = [finding async for finding in engine.check(endpoint, SITE, [], late)]
        assert [finding.what for finding in wrong(found)] == ["clock"]
        await cron.handle.terminate()
        assert [finding.found for finding in wrong(await findings(dev, home))] == ["is terminated"]
