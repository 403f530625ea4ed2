"""Files to objects and back: tables, sections, images, volumes, surfaces, transforms."""
