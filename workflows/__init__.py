"""WHEN and in WHAT ORDER: two durable executions, one per DataImportCron and one per DataVolume that is populated.

They interpret decisions and hold timers; WHAT to do is decided in `dataimportcron.planning`, HOW in `activities`.
"""
