from .edges import attribute_edges as attribute_edges
from .nodes import attribute as attribute
from .screening import screen_then_verify as screen_then_verify
