"""What the main job costs, told before it runs: on this pair, or on models of a given size."""
