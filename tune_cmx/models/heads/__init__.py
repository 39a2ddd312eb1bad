"""torchvision's image transform, RPN and RoI heads for all images of a batch at once, with torchvision's results.

torchvision loops over images, and a GPU waits for the host many times in each turn. Here a batch is one padded tensor
with a mask. What it holds of lists is known on the host from shapes, so that a training step waits for the GPU at four
places: decoding (two constants of torchvision's `BoxCoder`), non-maximum suppression, one call an image, the number of
proposals of each image, and the number of RoIs on each pyramid level.
"""
