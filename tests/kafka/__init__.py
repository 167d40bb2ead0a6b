"""A real Apache Kafka for tests, from jars, without containers."""
