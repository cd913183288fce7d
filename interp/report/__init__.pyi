from .page import (
    Written as Written,
    write_report as write_report,
)
