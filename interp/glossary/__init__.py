"""What the words of a verdict, of evidence and of the methods mean: one table, and its look-up."""
