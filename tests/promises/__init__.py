"""What this package promises about faults, hostile input and load; `pytest --tally FILE` counts the cases tried."""
