"""What jobs on prompts of any kind cost: scans and comparisons whose work hangs on what is said."""
