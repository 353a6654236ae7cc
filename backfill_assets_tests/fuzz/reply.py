"""An answer of the vendor on its way through the changes: JSON first, then bytes."""

import json
from dataclasses import dataclass, replace
from typing import Any

from backfill_assets_tests.fuzz.vendor import Answer


@dataclass(frozen=True)
class Reply:
    """An answer on its way: as JSON until its text is changed, then as ``answer`` only."""

    answer: Answer
    content: Any = None
    is_json: bool = False

    def finish(self) -> Answer:
        """The answer as it is sent."""
        if not self.is_json:
            return self.answer
        return replace(self.answer, body=json.dumps(self.content, separators=(",", ":")).encode())


def parse_reply(answer: Answer) -> Reply:
    """A true answer, with its JSON if it has any."""
    try:
        return Reply(answer, json.loads(answer.body), is_json=True)
    except ValueError:
        return Reply(answer)
