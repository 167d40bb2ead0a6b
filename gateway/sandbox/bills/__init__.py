"""Sample bills of a trial, as a hospital hands them in. Every person, number and product id in them is synthetic."""
