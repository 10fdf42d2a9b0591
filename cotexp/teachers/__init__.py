"""The teachers by name. A new one is a class and a line here; one of another package registers as entry point `cotexp.teachers`."""

from __future__ import annotations

from cotexp.extensions import Registry
from cotexp.teachers.base import Teacher

TEACHERS = Registry(
    "cotexp.teachers",
    Teacher,
    {
        "self": "cotexp.teachers.generating:SelfTeacher",
        "local": "cotexp.teachers.generating:LocalTeacher",
        "api": "cotexp.teachers.generating:ApiTeacher",
        "recorded": "cotexp.teachers.recorded:RecordedTeacher",
        "reference": "cotexp.teachers.reference:ReferenceTeacher",
    },
)
