"""The paper's ablations as data, run by one command each: ``onepfrac experiment NAME``."""
