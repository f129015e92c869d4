"""How good are images and models: HU, lesions, FID, reconstruction, steps, and what they are worth for training."""
