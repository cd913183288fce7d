"""What is measured of held-out margins: accuracy, calibration, description length, chance."""
