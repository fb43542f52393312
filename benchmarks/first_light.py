"""How long a feature pass and a fit take, against a DataLoader loop and against each other.

Run with ``python -m benchmarks.first_light``.
"""

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from benchmarks._common import alternate, ants_and_bees, arguments, mobilenet, print_machine
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier
from sktransfer.backbones.weights import read_file


class Photos(Dataset):
    """The loop that people write: open, torchvision's preset, tensor."""

    def __init__(self, paths):
        self.paths = paths
        self.preset = MobileNet_V2_Weights.IMAGENET1K_V1.transforms()

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return self.preset(Image.open(self.paths[i]).convert("RGB"))


def hand_written_loop(network, paths, workers):
    """Features by a DataLoader and the network as it comes."""
    batches = DataLoader(Photos(paths), batch_size=64, num_workers=workers)
    with torch.inference_mode():
        return torch.cat([network.features(batch).mean((2, 3)) for batch in batches]).numpy()


def main():
    options = arguments(__doc__)
    paths, labels = ants_and_bees(options.data, "train")
    network = mobilenet_v2().eval()
    network.load_state_dict(read_file(mobilenet(options.data)["weights"]), strict=False)
    extractor = PretrainedFeatureExtractor(**mobilenet(options.data), device="cpu").fit(paths)
    print_machine()

    ours, theirs = extractor.transform(paths), hand_written_loop(network, paths, 0)
    print(f"Largest difference of a feature from the loop's: {abs(ours - theirs).max():.1e}\n")

    sides = {"transform": lambda: extractor.transform(paths)}
    for workers in (0, 2):
        sides[f"loop, {workers} workers"] = lambda n=workers: hand_written_loop(network, paths, n)
    for epochs in (10, 100):
        classifier = PretrainedImageClassifier(
            **mobilenet(options.data), max_epochs=epochs, device="cpu", random_state=0
        )
        sides[f"fit, max_epochs={epochs}"] = lambda c=classifier: c.fit(paths, labels)
    seconds = alternate(sides, options.repeats)

    print(f"| {len(paths)} JPEG photos | seconds | pictures/s | time against transform |")
    print("|---|---|---|---|")
    for name, value in seconds.items():
        ratio = value / seconds["transform"]
        print(f"| {name} | {value:.2f} | {len(paths) / value:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
