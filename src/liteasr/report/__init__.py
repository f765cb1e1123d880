"""A page of results that opens anywhere, and a card for every checkpoint."""

from liteasr.report.contents import Contents, read_contents
from liteasr.report.model_card import card_for, write_card
from liteasr.report.page import write_report

__all__ = ["Contents", "card_for", "read_contents", "write_card", "write_report"]
