"""Write the table of timm's networks that the package has: ``python -m tests...timm_sizes``."""

import sys
import warnings
from pathlib import Path

import sktransfer.backbones.sources
from sktransfer.backbones.without_values import ParametersOnMeta

TABLE = Path(sktransfer.backbones.sources.__file__).parent / "timm_sizes.csv"


def sizes_of(architecture):
    """Return the number of parameters without the classifier, and the width of the features."""
    import timm
    from torch import nn

    with ParametersOnMeta(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = timm.create_model(architecture)
    heads = network.get_classifier()
    heads = heads if isinstance(heads, tuple | list) else [heads]
    of_heads = sum(
        p.numel() for head in heads if isinstance(head, nn.Module) for p in head.parameters()
    )
    parameters = sum(p.numel() for p in network.parameters()) - of_heads
    return parameters, getattr(network, "head_hidden_size", None) or network.num_features


def main():
    import timm

    lines = ["architecture,parameters,features"]
    for architecture in timm.list_models():
        try:
            lines.append(",".join(map(str, (architecture, *sizes_of(architecture)))))
        except Exception as error:
            print(f"{architecture}: {error}", file=sys.stderr)
    TABLE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
