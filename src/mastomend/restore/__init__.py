"""Bringing back what is broken: which sources are asked, what is made of what they give, and the change itself."""
