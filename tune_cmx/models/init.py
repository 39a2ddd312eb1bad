"""Random initial weights, drawn as the authors of the Mix Transformer and CMX do."""

import math

from torch import nn


def init_weights(module: nn.Module) -> None:
    """Draw one module's own weights; `parent.apply(init_weights)` initialises a whole tree.

    Linear: normal of deviation 0.02, cut at 2. 2-D convolution: normal of variance 2 / fan-out. Biases 0. Normalisation
    layers and all others keep PyTorch's initial weights (LayerNorm and BatchNorm: weight 1, bias 0). On the meta
    device there is nothing to draw.

    Source: SegFormer, arXiv:2105.15203, authors' code; CMX does the same in its fusion modules.
    """
    if not isinstance(module, nn.Linear | nn.Conv2d) or module.weight.is_meta:
        return
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    else:
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
    if module.bias is not None:
        nn.init.zeros_(module.bias)
