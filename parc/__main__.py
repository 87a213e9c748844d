"""`python -m parc`"""

import sys

from parc.cli import main

sys.exit(main())
