"""A Kafka that can be told to fail at one request: librdkafka's mock broker behind a wire of ours, on loopback.

The mock broker refuses *before* effect (`rd_kafka_mock_push_request_errors`, in the confluent-kafka wheel). The wire
does what the mock cannot: it lets the broker act and then turns the answer into an error, or it cuts or silences either
direction. It reads the request versions that aiokafka speaks (Produce to 8, OffsetCommit to 3, Heartbeat to 1).
"""

import asyncio
import contextlib
import ctypes
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import confluent_kafka

HOST = "127.0.0.1"
FRAME_BYTES_MAX = 32 << 20
_ERROR = struct.Struct(">h")
_LENGTH = struct.Struct(">i")


class Api(IntEnum):
    """Keys of requests (Apache Kafka protocol guide)."""

    PRODUCE = 0
    METADATA = 3
    OFFSET_COMMIT = 8
    FIND_COORDINATOR = 10
    HEARTBEAT = 12


class Effect(Enum):
    BEFORE = "before effect"
    AFTER = "after effect"


class Loss(Enum):
    CUT = "connection cut"
    SILENCE = "no answer"
    """The connection stays and carries nothing more that way: answers come in order, so none can be left out."""


Fault = int | Loss
"""An error code of the protocol, or how the answer is lost."""


class MockBroker:
    """One mock broker in this process, by the C interface of the wheel's librdkafka."""

    def __init__(self) -> None:
        place = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
        self._library = ctypes.CDLL(str(next(place.glob("librdkafka-*.so*"))))
        text = ctypes.create_string_buffer(256)
        conf = self._handle("rd_kafka_conf_new")
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", text, len(text))
        self._client = self._handle("rd_kafka_new", 0, conf, text, len(text))
        self._cluster = self._handle("rd_kafka_mock_cluster_new", self._client, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def _handle(self, name: str, *given: Any) -> ctypes.c_void_p:
        call = getattr(self._library, name)
        call.restype = ctypes.c_void_p
        return ctypes.c_void_p(call(*given))

    @property
    def port(self) -> int:
        call = self._library.rd_kafka_mock_cluster_bootstraps
        call.restype = ctypes.c_char_p
        return int(call(self._cluster).decode().rpartition(":")[2])

    def create_topic(self, name: str, partitions: int) -> None:
        if self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1) != 0:
            raise RuntimeError(f"the mock broker has no topic {name}")

    def refuse_next(self, api: Api, code: int) -> None:
        """Answer the next request of this kind with an error and do nothing."""
        self._library.rd_kafka_mock_push_request_errors(self._cluster, int(api), ctypes.c_size_t(1), code)

    def destroy(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


@dataclass
class FaultyBroker:
    """Fails the next request of one kind, once. Clients connect to `servers`; `direct` is without the wire."""

    mock: MockBroker
    port: int = 0
    met: int = 0
    """How many answers or requests the planned fault has met."""
    _plan: tuple[Api, Fault, Effect] | None = None
    pumps_running: set["asyncio.Task[Any]"] = field(default_factory=set)

    @property
    def servers(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def direct(self) -> str:
        return f"{HOST}:{self.mock.port}"

    def fail_next(self, api: Api, fault: Fault, effect: Effect) -> None:
        self._plan = (api, fault, effect)
        if isinstance(fault, int) and effect is Effect.BEFORE:
            self.mock.refuse_next(api, fault)

    def _meets(self, api: int, effect: Effect) -> Fault | None:
        """Take the plan if it is for this request; a planned fault strikes once."""
        if self._plan is None or self._plan[0] != api or self._plan[2] is not effect:
            return None
        fault, self._plan = self._plan[1], None
        self.met += 1
        return fault

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it or a fault does."""
        far_reader, far_writer = await asyncio.open_connection(HOST, self.mock.port)
        asked: dict[int, tuple[int, int]] = {}
        pumps = {
            asyncio.create_task(self._requests(reader, far_writer, asked)),
            asyncio.create_task(self._answers(far_reader, writer, asked)),
        }
        self.pumps_running |= pumps
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self.pumps_running -= pumps
        for end in (writer, far_writer):
            end.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        while True:
            frame = await _frame(reader)
            api, version, number = struct.unpack_from(">hhi", frame)
            asked[number] = (api, version)
            planned = self._plan is not None and isinstance(self._plan[1], Loss)
            fault = self._meets(api, Effect.BEFORE) if planned else None
            if fault is Loss.CUT:
                return
            if fault is Loss.SILENCE:
                await asyncio.Event().wait()
            writer.write(_LENGTH.pack(len(frame)) + frame)

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        while True:
            frame = await _frame(reader)
            api, version = asked.pop(_LENGTH.unpack_from(frame)[0])
            if api in {Api.METADATA, Api.FIND_COORDINATOR}:
                frame = self._readdressed(frame)
            elif self._refused(api, version, frame):
                self._meets(api, Effect.BEFORE)
            fault = self._meets(api, Effect.AFTER)
            if fault is Loss.CUT:
                return
            if isinstance(fault, int):
                _ERROR.pack_into(frame, _error_place(api, version, frame), fault)
            if fault is Loss.SILENCE:
                await asyncio.Event().wait()
            writer.write(_LENGTH.pack(len(frame)) + frame)

    def _refused(self, api: int, version: int, frame: bytearray) -> bool:
        """Say whether this is the mock's own planned refusal."""
        if self._plan is None or self._plan[0] != api or self._plan[2] is not Effect.BEFORE:
            return False
        return bool(_ERROR.unpack_from(frame, _error_place(api, version, frame))[0] == self._plan[1])

    def _readdressed(self, frame: bytearray) -> bytearray:
        """Put the wire's port where the mock names its own, so that clients come back through the wire."""
        host = HOST.encode()
        return frame.replace(host + _LENGTH.pack(self.mock.port), host + _LENGTH.pack(self.port))


async def _frame(reader: asyncio.StreamReader) -> bytearray:
    length = _LENGTH.unpack(await reader.readexactly(4))[0]
    if not 0 < length <= FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {length} bytes")
    return bytearray(await reader.readexactly(length))


def _error_place(api: int, version: int, frame: bytearray) -> int:
    """Find the error code of an answer about one partition of one topic, or about none.

    Throttle times come first in OffsetCommit from 3 and in Heartbeat from 1.
    """
    start = 4
    if (api, version) in {(Api.OFFSET_COMMIT, 3), (Api.HEARTBEAT, 1)}:
        start += 4
    if api == Api.HEARTBEAT:
        return start
    name_bytes = int(struct.unpack_from(">h", frame, start + 4)[0])
    return start + 4 + 2 + name_bytes + 4 + 4


@contextlib.asynccontextmanager
async def faulty_broker(*topics: tuple[str, int]) -> AsyncIterator[FaultyBroker]:
    """Make a broker with some topics (name, partitions); it ends with the block."""
    mock = MockBroker()
    for name, partitions in topics:
        mock.create_topic(name, partitions)
    broker = FaultyBroker(mock)
    server = await asyncio.start_server(broker.serve, HOST, 0)
    broker.port = int(server.sockets[0].getsockname()[1])
    try:
        yield broker
    finally:
        server.close()
        for pump in list(broker.pumps_running):
            pump.cancel()
        await asyncio.sleep(0)
        await asyncio.to_thread(mock.destroy)
