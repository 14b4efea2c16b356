"""``python -m onepfrac``, and what ``torchrun -m onepfrac`` starts."""

import sys

from onepfrac.cli import main

if __name__ == "__main__":
    sys.exit(main())
