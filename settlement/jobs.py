"""Timers of settlement."""

from gateway.runtime.component import Job
from settlement.actions.booking import take_notifications
from settlement.actions.sending import make_batches, send_batches

JOBS = (
    Job("settlement.make-batches", 1.0, make_batches),
    Job("settlement.send-batches", 0.5, send_batches),
    Job("settlement.notifications", 0.5, take_notifications),
)
