from .loading import (
    load_model as load_model,
    load_pair as load_pair,
    wrap as wrap,
)
from .model import (
    Model as Model,
)
from .pair import (
    ModelPair as ModelPair,
)
