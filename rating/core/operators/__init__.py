"""The operators that a price is a chain of: each a pure function from rows and parameters to rows.

A row is a quantity of usage that one rate prices, at the level of an event, a day or a line; chain.py sums rows from
one level to the next. Parameters are columns, one row a `rate`; a null parameter makes an operator the identity.
"""
