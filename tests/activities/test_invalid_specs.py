"""What neither admission nor `apply` could refuse."""

from dataimportcron.messages import Trigger, Verdict


async def test_a_spec_that_no_admission_could_refuse_is_said_and_the_registry_left_alone(steps, home):
    home.release(b"one")
    ref = home.apply()
    cron = home.cron()
    broken = cron.model_copy(update={"spec": cron.spec.model_copy(update={"schedule": "5-1 * * * *"})})
    await home.home.objects.patch(cron, broken)
    decision = await steps.look(ref, Trigger.POLL)
    assert (decision.verdict, decision.reason, decision.next_poll) == (Verdict.FAILED, "InvalidSpec", None)
    assert home.condition("Ready")[:2] == ("False", "InvalidSpec")
    assert home.source.lookups == 0
    home.apply(schedule="@hourly")
    assert (await steps.look(ref, Trigger.CHANGE)).verdict is Verdict.IMPORT
    assert home.source.lookups == 1
