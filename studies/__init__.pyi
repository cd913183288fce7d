from .comparison.comparing import (
    Comparison as Comparison,
    compare as compare,
)
from .recalling import (
    Recall as Recall,
    recall as recall,
)
