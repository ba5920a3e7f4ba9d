"""The rewriting engine behind `steepest.stabilize`; one idea a file.

`expression` reads a program, `facts` and `linear` know its values, `logarithm`,
`oneplus`, `difference`, `quotient`, `singular` and `halves` are the theory, `rules`
says where it is applied, `engine` applies it, `check`, `formula` and `report` tell.
"""
