"""What a kubelet hears of the worker."""

from __future__ import annotations

import httpx

from worker.health import Health, answering


async def test_it_lives_while_it_waits_and_says_what_for():
    health = Health(waits_for="Temporal does not answer at example:7233")
    async with answering(health, address="127.0.0.1", port=0) as port, httpx.AsyncClient() as client:
        base = f"http://127.0.0.1:{port}"
        assert (await client.get(f"{base}/livez")).status_code == 200
        waiting = await client.get(f"{base}/readyz")
        assert waiting.status_code == 503
        assert waiting.text == "waits for Temporal does not answer at example:7233\n"
        health.waits_for = ""
        assert (await client.get(f"{base}/readyz")).status_code == 200
        health.waits_for = "the lease"
        assert (await client.get(f"{base}/readyz")).status_code == 503
