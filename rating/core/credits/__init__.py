"""Prepaid credits: grants in money or units, burnt by what wants to be paid, event by event, with a ledger.

schema.py says what one row of each frame is; burning.py is the way in: `burn(grants, burns)`. Rules and worked
examples: docs/credits.md; why it is computed as it is: docs/decisions/0017-credits.md.
"""
