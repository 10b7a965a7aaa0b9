"""Dead letters: jobs that failed for good, kept for review and replay. `records` holds values, `filter` checks, `operations` asks."""

from engine.dead_letters.filter import DeadLetterFilter, Group
from engine.dead_letters.operations import DeadLetters
from engine.dead_letters.records import AtLeast, DeadLetter, DeadLetterPage, ReplayReport

__all__ = ["AtLeast", "DeadLetter", "DeadLetterFilter", "DeadLetterPage", "DeadLetters", "Group", "ReplayReport"]
