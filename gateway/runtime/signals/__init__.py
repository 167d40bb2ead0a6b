"""What a role shows of itself: logs, metrics, traces, and the places where tests make it die."""
