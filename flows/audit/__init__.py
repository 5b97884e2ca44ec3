"""Commands that audit a lake, and what they need beyond the warehouse: recipes, readers, extractors, reports."""
