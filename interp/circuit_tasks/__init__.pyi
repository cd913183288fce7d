from .items import (
    TaskItem as TaskItem,
)
from .loading import (
    load_task as load_task,
    task_names as task_names,
)
from .own import (
    read_items as read_items,
    write_items as write_items,
)
from .task import (
    Task as Task,
)
