from .base import (
    Intervention as Intervention,
)
from .cells import (
    Cell as Cell,
    Edit as Edit,
)
from .subspaces import (
    Erase as Erase,
    ProjectOut as ProjectOut,
    SwapSubspace as SwapSubspace,
)
from .values import (
    Add as Add,
    Features as Features,
    Knockout as Knockout,
    Mean as Mean,
    Replace as Replace,
    Resample as Resample,
    Scale as Scale,
    Zero as Zero,
)
