"""What trainings read."""
