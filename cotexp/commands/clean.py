"""`cotexp clean`: delete files of the store that no run under outputs/runs needs."""

from __future__ import annotations

from pathlib import Path

from cotexp.progress import page
from cotexp.report import terminal
from cotexp.report.document import text_table
from cotexp.settings.base import ConfigError
from cotexp.store.cleaning import Entry, plan_cleaning, remove


def clean_store(outputs: Path, *, delete: bool, paid: bool) -> None:
    """Print the entries of the store that no run needs, by stage. With `delete`, delete them.

    `paid`: include texts from servers. Raises: ConfigError without a store, or if the needs of a run cannot be read.
    """
    if not (outputs / "store").is_dir():
        raise ConfigError(f"clean: {outputs} has no store; give the folder of a store and runs by --outputs DIR")
    plan = plan_cleaning(outputs, paid=paid)
    rows = []
    for stage in (*sorted({entry.stage for entry in (*plan.needed, *plan.unneeded)}), "all"):
        kept, gone = ([entry for entry in entries if stage in (entry.stage, "all")] for entries in (plan.needed, plan.unneeded))
        rows.append((stage, str(len(kept)), size(kept), str(len(gone)), size(gone)))
    console = page()
    title = f"{outputs / 'store'}: needed by {plan.num_runs} runs"
    terminal.show(text_table(title, ("stage", "needed", "size", "not needed", "size"), rows), console)
    if plan.paid:
        console.print(f"Left alone: {len(plan.paid)} ledgers of texts from servers that no run needs ({size(plan.paid)}); --paid removes them too")
    if plan.recent:
        console.print(f"Left alone: {len(plan.recent)} entries that another process works on, or wrote in the last ten minutes ({size(plan.recent)})")
    for reason, entries in plan.unproven.items():
        left_alone = f"Left alone: {len(entries)} entries that seem to be unneeded, which cannot be proven ({size(entries)}): {reason}"
        console.print(left_alone, markup=False, highlight=False, soft_wrap=True)
    if delete:
        gone = remove(plan.unneeded)
        console.print(f"Deleted {len(gone)} entries, {size(gone)}")
        if stayed := len(plan.unneeded) - len(gone):
            console.print(f"Left alone: {stayed} entries that a process has begun to use meanwhile")
    elif plan.unneeded:
        console.print("Nothing is deleted yet; --delete deletes them. A run whose folder in runs/ you delete needs nothing any more")


def size(entries: list[Entry]) -> str:
    """Bytes of all entries, in decimal units."""
    amount = float(sum(entry.num_bytes for entry in entries))
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
