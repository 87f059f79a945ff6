"""The verbs an operator has on one slot: summary, list, show, retry, hold, release, bounce, remove, status.

A request is {"verb": ..., "select": {...}, ...}; the answer is a JSON object, or {"error": text, "code": exit code}.
Each worker answers on runtime_dir/slot-NNN.sock (door.py); the admin process alone dials it. Offline the same verbs
work on a slot whose worker is stopped: no scheduler, nothing under way.

Promises:
- A changing verb answers after its records are on stable storage, with how many messages it changed.
- Nothing is changed under a delivery's feet: a message with a recipient in delivery right now is left as it is and
  counted as `busy`; ask again.
- A verb never stops mail: it works in slices of 5 ms with as long a rest between them, and answers after a second at
  the latest, with `next` for where to go on (null when all was looked at). Each answer covers the ids in (after, next],
  so pages of many slots can be merged.
- While a slot is still loading its mail each answer has `loading`: true, for it covers only what is known by then.
- Domain and site select recipients, not messages: `remove` and `bounce` end only the recipients selected.
- A bounce closes its recipients in one batch with the notice to the sender: both are on disk, or neither.
"""

from fastrelay.control.door import Door
from fastrelay.control.verbs import Control

__all__ = ["Control", "Door"]
