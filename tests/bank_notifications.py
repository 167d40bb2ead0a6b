"""Builders of a bank's notifications (camt.054.001.08), one good default for every part."""

from collections.abc import Sequence
from dataclasses import dataclass

from settlement.bank_entry import BankEntry, UnreadableRow
from settlement.iso20022.camt054 import read_camt054
from tests.settlement_builders import UETR

CAMT054 = "urn:iso:std:iso:20022:tech:xsd:camt.054.001.08"


@dataclass(frozen=True)
class Row:
    """A booked row of a notification as XML, with one good default for every part."""

    amount: str = "100.00"
    currency: str = "CNY"
    side: str = "CRDT"
    status: str = "<Cd>BOOK</Cd>"
    value_date: str = "<Dt>2026-03-02</Dt>"
    details: str = ""
    more: str = ""
    reversal: str = ""

    @property
    def xml(self) -> str:
        return (
            f'<Ntry><NtryRef>N1</NtryRef><Amt Ccy="{self.currency}">{self.amount}</Amt>'
            f"<CdtDbtInd>{self.side}</CdtDbtInd>{self.reversal}<Sts>{self.status}</Sts>"
            f"<ValDt>{self.value_date}</ValDt>{self.more}<BkTxCd><Prtry><Cd>X</Cd></Prtry></BkTxCd>"
            f"{self.details}</Ntry>"
        )


def a_notification(*rows: Row, account: str = "<Othr><Id>QQ-1</Id></Othr>", notification_id: str = "N") -> bytes:
    """A page with one notification; without an id where `notification_id` is empty."""
    return a_page(notification(rows, account, notification_id))


def notification(rows: Sequence[Row], account: str, notification_id: str) -> str:
    own = f"<Id>{notification_id}</Id>" if notification_id else ""
    return f"<Ntfctn>{own}<Acct><Id>{account}</Id></Acct>{''.join(row.xml for row in rows)}</Ntfctn>"


def a_page(*notifications: str) -> bytes:
    return f"""<Document xmlns="{CAMT054}"><BkToCstmrDbtCdtNtfctn>
      <GrpHdr><MsgId>N</MsgId><CreDtTm>2026-03-02T01:00:00Z</CreDtTm></GrpHdr>
      {"".join(notifications)}</BkToCstmrDbtCdtNtfctn></Document>""".encode()


def details(*transactions: str) -> str:
    return f"<NtryDtls>{''.join(f'<TxDtls>{inner}</TxDtls>' for inner in transactions)}</NtryDtls>"


def ids(end_to_end_id: str, uetr: str = UETR) -> str:
    return f"<Refs><EndToEndId>{end_to_end_id}</EndToEndId><UETR>{uetr}</UETR></Refs>"


def read_entries(raw: bytes) -> tuple[BankEntry, ...]:
    """Read a notification all of whose rows can be booked."""
    rows = read_camt054(raw)
    entries = tuple(row for row in rows if isinstance(row, BankEntry))
    assert len(entries) == len(rows)
    return entries


def read_broken(raw: bytes) -> UnreadableRow:
    """Read a notification whose only row cannot be booked."""
    (row,) = read_camt054(raw)
    assert isinstance(row, UnreadableRow)
    return row
