"""Models made of models. Imports core and what core may import."""
