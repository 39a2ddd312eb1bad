"""Random initial weights, drawn as the authors of the Mix Transformer and CMX do."""

import math

from torch import nn


def init_weights(module: nn.Module) -> None:
    """Draw one module's own weights; `parent.apply(init_weights)` initialises a whole tree.

    Linear: normal of deviation 0.02, cut at 2. 2-D convolution: normal of variance 2 / fan-out. Biases 0. Normalisation
    layers and all others keep PyTorch's initial weights (LayerNorm and BatchNorm: weight 1, bias 0).

    Source: SegFormer, arXiv:2105.15203, authors' code; CMX does the same in its fusion modules.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
