from .grading import (
    JOINT_REMOVAL as JOINT_REMOVAL,
    NOT_MEASURED as NOT_MEASURED,
    Claim as Claim,
    GradedClaim as GradedClaim,
    Use as Use,
    grade_claims as grade_claims,
)
from .readable import (
    Reading as Reading,
    best_read as best_read,
    difference as difference,
    readings as readings,
)
