"""Write the files of ONNX that tests read; needs onnx and onnxscript."""

import torch
from torch.export import Dim

from tests.backbones.onnx_files.networks import FOLDER, SIDE, Features, Map, Two

FILES = {
    "features": (Features, {0: Dim.DYNAMIC}),
    "map": (Map, {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}),
    "two_outputs": (Two, {0: Dim.DYNAMIC}),
    "fixed_batch": (Features, {}),
}


def main() -> None:
    import onnx  # tests read the files without it, and doctest imports this module

    for name, (network, dynamic) in FILES.items():
        pictures = torch.zeros(2, 3, SIDE, SIDE)
        program = torch.onnx.export(
            network().eval(), (pictures,), dynamo=True, dynamic_shapes=(dynamic,), verbose=False
        )
        model = program.model_proto
        # The exporter notes the lines of code, with the folders of the machine.
        for node in model.graph.node:
            del node.metadata_props[:]
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
            del value.metadata_props[:]
        del model.graph.metadata_props[:], model.metadata_props[:]
        onnx.save(model, FOLDER / f"{name}.onnx")
    # As large models are: the weights are in a file beside it.
    onnx.save(
        onnx.load(FOLDER / "map.onnx"),
        FOLDER / "outside.onnx",
        save_as_external_data=True,
        location="outside.weights",
        size_threshold=100,
    )


if __name__ == "__main__":
    main()
