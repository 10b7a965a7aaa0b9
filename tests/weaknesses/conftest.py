"""The rows of BullMQ's weaknesses (wire specification, section 9): each that can be avoided has tests named after it here.

| row | in |
|---|---|
| 1, 2, 3, 24 | `test_locks_and_stalls` |
| 4, 5, 6, 7, 8, 20 | `test_waking` |
| 9, 10, 11, 23 | `test_growth` |
| 12, 13, 14 | `test_schedules_and_deduplication` |
| 15, 16, 17 | `test_parents_and_waiting` |
| 18, 19, 22 | `test_order_and_limits` |
| 21 | `test_pausing` |

`test_the_real_bullmq` shows some of them with BullMQ itself. docs/weaknesses-avoided.md has the whole table.
"""

from tests.interop.conftest import node  # noqa: F401 - a fixture
