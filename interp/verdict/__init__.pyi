from .judging import (
    judge as judge,
)
from .outcomes import (
    Outcomes as Outcomes,
)
from .result import (
    Verdict as Verdict,
)
from .thresholds import (
    Thresholds as Thresholds,
)
