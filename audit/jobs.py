"""Timers of the audit component."""

from audit.actions import run_rules
from gateway.runtime.component import Job

JOBS = (Job("audit.rules", 2.0, run_rules),)
