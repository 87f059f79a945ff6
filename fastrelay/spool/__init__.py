"""Room 2, the strongbox: a message is safe here before its sender reads 250, and leaves when its last recipient ended.

store.py is the face, format.py the proof; the way of a message through the others:

    draft       bodies.py, budget.py, room.py    content on its way in: memory or a file, within what there is
    commit      committer.py -> journal.py       batches, one trip to the disk each, in frames (frames.py, format.py)
    known       register.py, segment.py          what is open, where its newest copy lies, in some 550 octets of memory
    freed       freeing.py                       a segment is unlinked after what is needed of it was written forward
    found again recovery.py, scan.py, index.py   after a start or an adoption (slots.py): the tail first, then the rest
    damaged     quarantine.py                    kept aside, told, shown; never sent

disk.py alone touches files.
"""
