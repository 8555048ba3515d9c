from __future__ import annotations

from hypothesis import settings

# No property is about time: a busy machine, which is slow now and then, fails none.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
