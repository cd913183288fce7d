"""The main job: a base and a tuned model, compared output by output."""
