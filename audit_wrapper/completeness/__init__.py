"""The exchange's books against the trail's: what is the same, what is missing, what is more, what differs. Pure.

Written as an auditor reads: what nobody showed is not taken for agreement. So a row that could not be looked at is an
open question, an order whose executions the exchange kept to itself is named, and each row and each execution is used
for one match only: a second row of one order is one too many.
"""

from audit_wrapper.completeness.comparing import compare
from audit_wrapper.completeness.statement import Completeness, Finding, Payment

__all__ = ["Completeness", "Finding", "Payment", "compare"]
