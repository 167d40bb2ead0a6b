"""The transport: one port, the embedded bus, and Kafka behind it."""
