"""Timers of the insurer's desk."""

from adapters.hk.desk.actions.dispatch import send_answers
from adapters.hk.desk.actions.reception import install_release, take_inbox
from gateway.runtime.component import Job

JOBS = (
    Job("desk.registry", 60.0, install_release),
    Job("desk.inbox", 0.3, take_inbox),
    Job("desk.answers", 0.3, send_answers),
)
