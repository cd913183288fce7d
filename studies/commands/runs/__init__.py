"""What the command line does in a folder: comparisons and scans, at once or part by part."""
