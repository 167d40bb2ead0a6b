"""A record as no client would write it: a header whose name is no UTF-8. Whoever may write a topic may do so."""

import struct

from aiokafka import AIOKafkaProducer  # noqa: TID251 no other client lets its batches be changed
from aiokafka.record.util import calc_crc32c  # noqa: TID251 the same

MARK = "strange-header"
CRC = slice(17, 21)
"""Where a record batch of format 2 has its checksum over everything after it (Apache Kafka protocol guide)."""


async def produce_unreadable(servers: str, topic: str, partition: int, value: bytes) -> None:
    """Append one record that a consumer of aiokafka cannot take apart."""
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        batch = producer.create_batch()
        batch.append(timestamp=None, key=b"case_a", value=value, headers=[(MARK, b"")])
        raw = bytearray(batch._build())
        at = raw.index(MARK.encode())
        raw[at : at + len(MARK)] = b"\xff" * len(MARK)
        raw[CRC] = struct.pack(">I", calc_crc32c(bytes(raw[CRC.stop :])))
        batch._buffer = bytes(raw)
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
