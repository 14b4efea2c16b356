"""Training scripts, thin on purpose: timm and torch do what they do well, the images come from the stream."""
