from .comparison.comparing import (
    Comparison as Comparison,
    compare as compare,
)
from .knowing import (
    Knowing as Knowing,
    know as know,
)
from .recalling import (
    Recall as Recall,
    recall as recall,
)
from .runs import (
    summary as summary,
)
