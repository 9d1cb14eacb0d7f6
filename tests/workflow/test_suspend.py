"""Suspend and resume, by the command line, over skipped time."""

import asyncio
from datetime import timedelta

from dataimportcron.naming import import_name
from tests.support.home import DATA_SOURCE, NAME, NAMESPACE
from tests.support.temporal import eventually
from worker.cli import main
from workflows.data_import_cron import DataImportCronWorkflow


def command(verb, home):
    assert main([verb, NAME, "-n", NAMESPACE, "--state", str(home.folder)]) == 0


async def until_next_poll(cron, *, planned):
    """The execution has taken notice of the change."""
    async with asyncio.timeout(30):
        await cron.handle.signal(DataImportCronWorkflow.changed, "")
        while ((await cron.state()).next_poll is not None) is not planned:  # noqa: ASYNC110 -- only a query tells
            await asyncio.sleep(0.05)


async def test_a_suspended_cron_rests_until_somebody_asks(skipping, home, running):
    home.release(b"one")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule="0 * * * *"))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        command("suspend", home)
        await until_next_poll(cron, planned=False)
        before, second = home.source.lookups, home.release(b"two")
        await skipping.sleep(timedelta(hours=30))
        assert home.source.lookups == before
        await cron.handle.signal(DataImportCronWorkflow.poll, "somebody asks")
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, second))
        third = home.release(b"three")
        command("resume", home)
        await until_next_poll(cron, planned=True)
        await skipping.sleep(timedelta(hours=2))
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, third))


async def test_an_import_that_runs_goes_on(skipping, home, running):
    digest = home.release(b"one")
    home.importer.gate.clear()
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule="0 * * * *"))
        await eventually(lambda: home.importer.started == [digest])
        command("suspend", home)
        await until_next_poll(cron, planned=False)
        home.importer.gate.set()
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))


def test_what_the_commands_say(home, capsys):
    home.apply(schedule="0 * * * *")
    for verb in ("suspend", "suspend", "resume", "resume"):
        command(verb, home)
    said = capsys.readouterr().out.splitlines()
    words = ("suspended", "is suspended already", "resumed", "is not suspended")
    assert said == [f"dataimportcron/{NAME} {what}" for what in words]
    command("suspend", home)
    capsys.readouterr()
    assert main(["get", "dic", "-n", NAMESPACE, "--state", str(home.folder)]) == 0
    assert "<suspended>" in capsys.readouterr().out
