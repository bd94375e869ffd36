"""Up to which entry a store has a journal. Found out whenever they meet: either may be an older copy of itself."""

from __future__ import annotations

from audit_wrapper.failures import Failures
from audit_wrapper.journal import Journal
from audit_wrapper.store.interface import Store


async def agreed(journal: Journal, store: Store, failures: Failures, *, refused: bool, at_once: int) -> int:
    """The number of the last entry that both have.

    The store may have others under the same numbers: an older copy of the folder was put back and traded on, two machines
    were made from one image, or power was lost with entries that had been delivered. Then everything that the store has not
    gets a stream of its own, so that nothing is lost and nothing mixed up. refused: the store has said so already, of an
    entry. at_once: how many entries are compared at a time. Raises what the store and the journal raise.
    """
    stream = journal.stream
    seq, digest = await store.delivered(stream)
    if seq <= journal.stream_after:
        return journal.stream_after
    at = journal.read(seq - 1, 1) if seq <= journal.durable_seq else []
    # what is not there any more (retention, damage) does not contradict
    differs = seq > journal.durable_seq or (at and at[0].seq == seq and at[0].hash != digest)
    if not differs and not refused:
        _note_what_the_store_lost(journal, seq, failures)
        return seq
    common = min(journal.delivered_seq, journal.durable_seq)
    while entries := journal.read(common, at_once):
        held = await store.holds(stream, entries)
        common = entries[held - 1].seq if held else common
        if held < len(entries):
            break
    if journal.stream != stream:  # read from outside, and its writer has made a new one meanwhile
        return await agreed(journal, store, failures, refused=False, at_once=at_once)
    sentence = f"the database has other records than this journal after {common} (it goes up to {seq})"
    failures.note("journal and database differ", f"{sentence}: an older copy of the folder was put back?")
    journal.branch(common)
    return common


def _note_what_the_store_lost(journal: Journal, seq: int, failures: Failures) -> None:
    """A standby that had not received everything took over, or a backup was put back: deliver that again, if it is
    still here."""
    known = journal.delivered_seq
    following = journal.read(seq, 1) if seq < known else []
    if seq < known and not (following and following[0].seq == seq + 1):
        upto = following[0].seq - 1 if following else known
        failures.note(
            "records lost by the database",
            f"it had records up to {known} and has them up to {seq}; the journal keeps none from {seq + 1} to {upto} any more",
        )
