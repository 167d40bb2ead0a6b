"""Money was instructed for a claim that no insurer had finally decided, or for an obligation nobody asked for."""

from collections.abc import Sequence

from audit.leaf import Leaf
from audit.ports import Finding


class PaidWithoutApproval:
    """Sources write side by side, so an approval counts wherever it stands in the log, not only before the payment."""

    name = "paid-without-approval"

    def findings(self, events: Sequence[Leaf]) -> list[Finding]:
        decided = {_clear(leaf, "claim_id") for leaf in events if leaf.typ == "claim.decided"}
        asked = {_clear(leaf, "obligation_id") for leaf in events if leaf.typ == "obligation.asked"}
        return [
            Finding(_clear(leaf, "obligation_id") or leaf.eid, leaf.eid)
            for leaf in events
            if leaf.typ == "payment.instructed"
            and (_clear(leaf, "claim_id") not in decided or _clear(leaf, "obligation_id") not in asked)
        ]


def _clear(leaf: Leaf, name: str) -> str:
    clear = leaf.body.get("clr")
    return str(clear.get(name, "")) if isinstance(clear, dict) else ""
