"""What this package promises about faults, hostile input and load: each promise with its tests, and with changes that
break it.

One file a topic holds the promises as data; `pytest --tally FILE` counts the cases that tests try.
"""
