"""The rewriting engine behind `steepest.stabilize`; one idea a file.

- The program: `reading` makes it `expression`s, `compute` and `writing` bring them back,
  `engine` chooses what is rewritten, `exact` has the constants that were rounded.
- What is known of a value: `facts` (bounds), `linear` (sums as combinations).
- The theory: `logarithm` with `logsums`, `softmaxes`, `terms` and `exponential`;
  `oneplus`, `difference`, `moments`, `distances`; `quotient`, `removable`, `products`,
  `lengths`; `singular`; `halves` and `carries`.
- Where it is applied: `rules`, and `refusals` of what has no other form.
- What a rewritten program calls: `functions`, `ratios`, `vectors`, beside `..stable`.
- What is told of it: `check`, `formula`, `report`.
"""
