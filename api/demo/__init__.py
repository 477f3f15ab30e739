"""The demonstration: a day of LLM usage with real prices, from posting it to checking the charges."""
