"""What changed, without being asked: a scan of two models over many prompts."""
