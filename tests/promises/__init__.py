"""What this package promises about faults, hostile input and load: each promise with its tests, and with changes that
break it.

One file a topic holds the promises as data. `pytest --tally FILE` counts the cases that tests try, broken_builds.py
breaks the package in each of the ways given here and sees the tests fail, report.py writes docs/reliability.md.
"""
