"""All promises, by topic, in the order of docs/reliability.md."""

from __future__ import annotations

from promises import core, faults, hostile, memory, native, processes, soak, supply, threads, untrusted
from promises.promise import Promise

__all__ = ["TOPICS"]

TOPICS: dict[str, list[Promise]] = {
    "Hostile input": hostile.PROMISES,
    "Processes": processes.PROMISES,
    "Threads": threads.PROMISES,
    "Memory": memory.PROMISES,
    "The core under sanitizers": native.PROMISES,
    "The core as a whole": core.PROMISES,
    "Faults": faults.PROMISES,
    "Files of strangers": untrusted.PROMISES,
    "Long runs": soak.PROMISES,
    "Supply chain": supply.PROMISES,
}
