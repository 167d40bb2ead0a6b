"""What operators ask of a role and do to it: backlog, alarms, actions with one or two persons."""
