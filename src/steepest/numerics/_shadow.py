from .shadowing.blame import blame as blame
from .shadowing.operations import Operation as Operation, operations as operations
from .shadowing.program import shadow_program as shadow_program
