"""A world, a model, a detector and a recipe for Holdfast."""
