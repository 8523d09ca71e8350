"""How hypothesis asks the oracles: the same tables each time, and no clock, since an oracle may take a second."""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # oracle_tables lies beside the tests
settings.register_profile("oracles", deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
settings.load_profile("oracles")
