"""Messages from the database to the bus and back: outbox and relays out, worker and inbox in, timers beside them."""
