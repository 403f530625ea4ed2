"""Networks, losses, augmentation, patch loading: the only shared folder that imports torch."""
