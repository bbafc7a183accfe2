"""The ways in. A door translates its users' words into the core's and never decides; doors are strangers."""
