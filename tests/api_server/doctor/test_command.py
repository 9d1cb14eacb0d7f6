"""Temporal, what we may not see, and the screen."""

import asyncio
import json
import os

from tests.api_server.doctor.conftest import CONTEXT, GOLDEN, WORKER, all_findings
from tests.support.temporal import dev_server
from worker.cli import main
from worker.doctor.finding import Level


async def test_temporal_is_asked_as_on_a_host(cron, monkeypatch):
    cron()
    async with dev_server() as dev:
        monkeypatch.setenv("TEMPORAL_ADDRESS", dev.client.service_client.config.target_host)
        found = await all_findings()
    assert next(one for one in found if one.what == "search attributes").level is Level.OK
    workers = [one for one in found if one.what == "workers"]
    assert {one.cure for one in workers} == {f"kubectl -n {WORKER} logs deployment/dataimportcron"}
    [execution] = [one for one in found if one.what.startswith("execution ")]
    assert execution.what.endswith(f"/dataimportcron/{GOLDEN}/fedora-cron")
    assert execution.found == "has no execution"


async def test_the_workers_temporal_is_named_where_none_is_set_here(monkeypatch):
    monkeypatch.delenv("TEMPORAL_ADDRESS")
    asked = [one for one in await all_findings() if one.what == "Temporal"]
    assert asked[0].level is Level.NOTE
    assert "the worker's is temporal-frontend.temporal.svc:7233" in asked[0].found


def test_what_we_may_not_see_is_said_and_is_not_wrong(plane, monkeypatch, capsys):
    monkeypatch.setenv("KUBECONFIG", str(plane.user_kubeconfig))
    found = asyncio.run(all_findings())
    unseen = [one.what for one in found if one.level is Level.NOTE and one.found.startswith("could not look: ")]
    assert unseen == [
        "nodes", "definitions", "worker", "leader", "mode", "storage classes", "claims", "Temporal",
    ]  # fmt: skip
    assert not [one for one in found if one.wrong]
    assert main(["doctor", "--context", CONTEXT]) == 0
    assert "\nnothing is wrong; " in capsys.readouterr().out


def test_the_command_prints_each_with_its_cure(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", os.environ | {"COLUMNS": "80", "NO_COLOR": "1"})
    assert main(["doctor", "--context", CONTEXT]) == 1
    printed = capsys.readouterr().out
    assert "\nwrong  nodes: there is none: no import pod can run\n       cure: let a node join: " in printed
    assert main(["doctor", "--context", CONTEXT, "-o", "json"]) == 1
    assert {"what", "level", "found", "cure"} == set(json.loads(capsys.readouterr().out)[0])
