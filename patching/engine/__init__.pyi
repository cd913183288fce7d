from .sweeping import Swept as Swept, record as record, sweep as sweep
