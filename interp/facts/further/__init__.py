"""Further ways to ask for a fact: other wordings, turned round, over two steps, as true or false."""
